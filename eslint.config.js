import { tsImport } from 'tsx/esm/api';

const { lintConfig } = await tsImport('./infra/lint/config.ts', import.meta.url);

export default lintConfig(import.meta.dirname);

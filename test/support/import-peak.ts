/**
 * Imports a language model in int4 in a process of its own, and prints its peak resident memory in bytes.
 * `import-peak.ts FOLDER OUT CHECK`: CHECK is `true` where the result is compared with float32.
 */
import { importModel } from '../../infra/models/index.ts';

const [dir = '', out = '', check] = process.argv.slice(2);
await importModel({
  dir,
  out,
  weights: 'int4',
  check: check === 'true',
  policy: null,
  batch: 1,
  views: 1,
  imageSize: 56,
  textTokens: 8,
  reasoningTokens: 2,
  signal: new AbortController().signal,
  onProgress: () => undefined,
});
process.stdout.write(String(process.resourceUsage().maxRSS * 1024));

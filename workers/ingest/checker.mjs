// Entry of the process that checks a set: teaches it TypeScript, then starts the checker proper.
import { register } from 'tsx/esm/api';

register();
await import('./checker.ts');

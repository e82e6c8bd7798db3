// Entry of a graph thread: teaches it TypeScript, then starts the thread proper.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');

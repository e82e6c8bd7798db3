// Entry of the worker thread: teaches it TypeScript, then starts the worker proper.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');

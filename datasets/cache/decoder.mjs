// Entry of a decoding thread: teaches it TypeScript, then starts the decoder proper.
import { register } from 'tsx/esm/api';

register();
await import('./decoder.ts');

/** Pictures off the event loop: decoding and pre-processing in threads of this folder. */
export { ImagePool } from './image-pool.ts';
export type { Size } from './protocol.ts';

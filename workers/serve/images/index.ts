/** Pictures off the event loop: decoding by libvips, pre-processing in threads of this folder. */
export { ImagePool } from './image-pool.ts';
export type { Size } from './protocol.ts';

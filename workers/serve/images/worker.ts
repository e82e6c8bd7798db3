import { parentPort } from 'node:worker_threads';
import { preprocessImage } from '@armature/policy/data';
import { decodeJpeg, PictureError } from './decode-jpeg.ts';
import type { ImageReply, ImageRequest } from './protocol.ts';

/** An image thread: decodes, then pre-processes as training does. */
const port = parentPort;
if (port === null) throw new Error('an image thread needs a parent');

port.on('message', (request: ImageRequest) => {
  const reply = answer(request);
  port.postMessage(reply, 'pixels' in reply ? [reply.pixels.buffer as ArrayBuffer] : []);
});

function answer({ kind, bytes, size, target }: ImageRequest): ImageReply {
  try {
    const rgb = kind === 'jpeg' ? decodeJpeg(bytes, size) : bytes;
    return { pixels: owned(preprocessImage(rgb, size.width, size.height, target)) };
  } catch (error) {
    return error instanceof PictureError
      ? { refused: error.message, fix: error.fix }
      : { crashed: String(error) };
  }
}

/** The bytes in a buffer of their own, so that it can be handed over whole. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}

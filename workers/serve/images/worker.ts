import { parentPort, workerData } from 'node:worker_threads';
import { preprocessImage } from '@armature/policy/data';
import { decodeJpeg, PictureError } from './decode-jpeg.ts';
import type { Claim, ImageAnswer, ImageReply, ImageRequest, ImageThreadData } from './protocol.ts';

/** An image thread: decodes, then pre-processes as training does. */
const port = parentPort;
if (port === null) throw new Error('an image thread needs a parent');

const places = new Int32Array((workerData as ImageThreadData).places);

port.on('message', (request: ImageRequest) => {
  const reply: ImageReply = isMine(request.claim) ? answer(request) : { passed: true };
  port.postMessage(reply, 'pixels' in reply ? [reply.pixels.buffer as ArrayBuffer] : []);
});

function isMine(claim: Claim | undefined): boolean {
  if (claim === undefined) return true;
  return Atomics.compareExchange(places, claim.place, claim.ticket, 0) === claim.ticket;
}

function answer({ kind, bytes, size, target }: ImageRequest): ImageAnswer {
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

import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { StillPicture, VideoInput } from '../dataset.ts';
import { damaged } from '../video/damaged.ts';

const ENCODINGS = ['jpeg', 'png', 'rgb8', 'bgr8'] as const satisfies StillPicture['encoding'][];
/** Bytes before each picture: encoding, width, height, length as u32, seconds as f64. */
const HEADER_BYTES = 24;

/** Writes single pictures one after another, for a thread that decodes them. */
export async function writePictures(
  path: string,
  input: Extract<VideoInput, { kind: 'pictures' }>,
): Promise<void> {
  const file = await open(path, 'w');
  try {
    for await (const { encoding, width, height, seconds, bytes } of input.pictures()) {
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt32LE(ENCODINGS.indexOf(encoding), 0);
      header.writeUInt32LE(width, 4);
      header.writeUInt32LE(height, 8);
      header.writeUInt32LE(bytes.length, 12);
      header.writeDoubleLE(seconds, 16);
      await file.writeFile(header);
      await file.writeFile(bytes);
    }
  } finally {
    await file.close();
  }
}

/** The pictures of such a file, read one at a time. */
export function readPictures(path: string, name: string): VideoInput {
  return { kind: 'pictures', name, pictures: () => fromFile(path, name) };
}

async function* fromFile(path: string, name: string): AsyncGenerator<StillPicture> {
  let waiting = Buffer.alloc(0);
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) {
    waiting = Buffer.concat([waiting, piece as Buffer]);
    for (;;) {
      if (waiting.length < HEADER_BYTES) break;
      const end = HEADER_BYTES + waiting.readUInt32LE(12);
      if (waiting.length < end) break;
      const encoding = ENCODINGS[waiting.readUInt32LE(0)];
      if (encoding === undefined) throw damaged(name, 'is damaged');
      yield {
        encoding,
        width: waiting.readUInt32LE(4),
        height: waiting.readUInt32LE(8),
        seconds: waiting.readDoubleLE(16),
        bytes: waiting.subarray(HEADER_BYTES, end),
      };
      waiting = waiting.subarray(end);
    }
  }
}

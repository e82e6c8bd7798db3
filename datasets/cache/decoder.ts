import { open, rename, rm } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';
import { ArmatureError } from '@armature/sdk/contract';
import { decodeVideo } from '../video/decode.ts';
import type { VideoInput } from '../dataset.ts';
import { RgbConverter } from '../video/rgb.ts';
import { readPictures } from './picture-file.ts';
import type { DecoderReply, DecoderRequest, PreprocessImage } from './protocol.ts';

/** Pictures between two progress messages. */
const PROGRESS_EVERY = 32;
/** Bytes gathered before they are written. */
const WRITE_BYTES = 1 << 20;

if (parentPort === null) throw new Error('the frame decoder runs in a worker thread');
const port = parentPort;
const settings = z
  .object({
    preprocessModule: z.string(),
    size: z.object({ width: z.number().int(), height: z.number().int() }),
  })
  .parse(workerData);
const preprocess = await loadPreprocess(settings.preprocessModule);
const cancel = new AbortController();

port.on('message', (request: DecoderRequest) => {
  if (request.kind === 'cancel') {
    cancel.abort();
    port.close();
    return;
  }
  decode(request).then(
    () => reply({ kind: 'done' }),
    (error: unknown) => reply(failure(error)),
  );
});

type DecodeRequest = Extract<DecoderRequest, { kind: 'decode' }>;

function inputOf({ content, video, name, clip }: DecodeRequest): VideoInput {
  if (content === 'pictures') return readPictures(video, name);
  return { kind: 'file', path: video, name, ...(clip === undefined ? {} : { clip }) };
}

async function decode(request: DecodeRequest): Promise<void> {
  const part = `${request.output}.${process.pid}.part`;
  const file = await open(part, 'w');
  const converter = new RgbConverter();
  try {
    const block = new Uint8Array(
      Math.max(WRITE_BYTES, settings.size.width * settings.size.height * 3),
    );
    let filled = 0;
    const flush = async (): Promise<void> => {
      await file.writeFile(block.subarray(0, filled));
      filled = 0;
    };
    const frames = await decodeVideo(inputOf(request), {
      signal: cancel.signal,
      threads: 1,
      limit: request.frames,
      async onFrame({ index, frame }) {
        const rgb = await converter.convert(frame);
        const image = preprocess(rgb, frame.width, frame.height, settings.size);
        if (filled + image.length > block.length) await flush();
        block.set(image, filled);
        filled += image.length;
        if ((index + 1) % PROGRESS_EVERY === 0) {
          reply({ kind: 'progress', frames: PROGRESS_EVERY });
        }
      },
    });
    if (frames < request.frames) {
      throw new ArmatureError(
        'invalid_dataset',
        `${request.name} has ${frames} frames, its episode has ${request.frames}`,
        { field: request.name, fix: 'Record or export the episode again.' },
      );
    }
    await flush();
    reply({ kind: 'progress', frames: frames % PROGRESS_EVERY });
    await file.sync();
    await file.close();
    await rename(part, request.output);
  } catch (error) {
    await file.close();
    await rm(part, { force: true });
    throw error;
  } finally {
    converter.close();
  }
}

function reply(message: DecoderReply): void {
  port.postMessage(message);
}

function failure(error: unknown): DecoderReply {
  if (error instanceof ArmatureError) {
    const { code, message, field, fix } = error;
    return { kind: 'failed', code, message, field, fix };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { kind: 'failed', code: 'internal', message, field: undefined, fix: undefined };
}

async function loadPreprocess(url: string): Promise<PreprocessImage> {
  const loaded: unknown = await import(url);
  if (typeof loaded === 'object' && loaded !== null && 'preprocessImage' in loaded) {
    const { preprocessImage } = loaded;
    if (typeof preprocessImage === 'function') return preprocessImage as PreprocessImage;
  }
  throw new TypeError(`${url} exports no function preprocessImage`);
}

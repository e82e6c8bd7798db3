import { ArmatureError, type EmbodimentSpec, type WireImage } from '@armature/sdk/contract';
import { ImageThread, TookTooLong } from './image-thread.ts';
import type { ImageReply, ImageRequest, Size } from './protocol.ts';

type Camera = EmbodimentSpec['cameras'][number];

/** Longest that a picture may take, ms; one of the largest camera that can be declared takes tenths of that. */
const LIMIT_MS = 2_000;

interface Waiting {
  readonly request: ImageRequest;
  readonly resolve: (reply: Promise<ImageReply>) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Turns wire images into what the policy sees, off the event loop. A thread has one picture at a time and the
 * others wait here, first come, first served: a thread that has to be replaced takes no other's picture
 * with it.
 */
export class ImagePool {
  private readonly threads: ImageThread[];
  private readonly idle = new Set<ImageThread>();
  private readonly waiting: Waiting[] = [];
  private closed: Error | undefined;

  private constructor(count: number, limitMs: number, onThreadLost: (error: Error) => void) {
    const begin = (i: number): ImageThread => {
      const thread = new ImageThread(`images-${i}`, limitMs, (error) => {
        onThreadLost(error);
        this.idle.delete(thread);
        this.threads[i] = begin(i);
      });
      thread.ready.then(
        () => this.free(thread),
        // It has ended, which is told and mended above.
        () => this.idle.delete(thread),
      );
      return thread;
    };
    this.threads = Array.from({ length: count }, (_, i) => begin(i));
  }

  /**
   * Starts the threads and waits until each has done a picture.
   * @param onThreadLost told when one ended by itself or was given up; another takes its place.
   * @param limitMs longest that a picture may take; the thread that has it is then replaced
   */
  static async start(
    count: number,
    onThreadLost: (error: Error) => void,
    limitMs = LIMIT_MS,
  ): Promise<ImagePool> {
    const pool = new ImagePool(count, limitMs, onThreadLost);
    await Promise.all(pool.threads.map((thread) => thread.ready));
    return pool;
  }

  /**
   * The pictures of one observation, each on the thread with least to do.
   * @param images one of every camera.
   * @returns by camera, u8 [target.height, target.width, 3].
   * @throws ArmatureError `invalid_observation` for a picture that cannot be used.
   */
  async prepare(
    images: Readonly<Record<string, WireImage>>,
    cameras: readonly Camera[],
    target: Size,
  ): Promise<Record<string, Uint8Array>> {
    const made = await Promise.all(
      cameras.map(async (camera) => {
        const image = images[camera.name];
        if (image === undefined) throw missing(camera.name);
        return [camera.name, await this.prepareOne(image, camera, target)] as const;
      }),
    );
    return Object.fromEntries(made);
  }

  async close(): Promise<void> {
    this.closed = new Error('the image threads are closed');
    for (const { reject } of this.waiting.splice(0)) reject(this.closed);
    await Promise.all(this.threads.map((thread) => thread.close()));
  }

  private async prepareOne(image: WireImage, camera: Camera, target: Size): Promise<Uint8Array> {
    const size = { width: camera.width, height: camera.height };
    const field = `images.${camera.name}`;
    const reply = await this.ask({ ...payload(image), size, target }).catch((error: unknown) => {
      if (!(error instanceof TookTooLong)) throw error;
      return { refused: `cannot be decoded: ${error.message}`, fix: 'Send baseline JPEG.' };
    });
    if ('pixels' in reply) return reply.pixels;
    if ('crashed' in reply) throw new Error(reply.crashed);
    throw new ArmatureError('invalid_observation', `${field} ${reply.refused}`, {
      field,
      fix: reply.fix,
    });
  }

  private ask(request: ImageRequest): Promise<ImageReply> {
    if (this.closed !== undefined) return Promise.reject(this.closed);
    const [thread] = this.idle;
    if (thread !== undefined) return this.give(thread, request);
    return new Promise((resolve, reject) => {
      this.waiting.push({ request, resolve, reject });
    });
  }

  private async give(thread: ImageThread, request: ImageRequest): Promise<ImageReply> {
    this.idle.delete(thread);
    const reply = await thread.ask(request);
    this.free(thread);
    return reply;
  }

  private free(thread: ImageThread): void {
    const next = this.waiting.shift();
    if (next === undefined) this.idle.add(thread);
    else next.resolve(this.give(thread, next.request));
  }
}

/** The picture's bytes in a buffer of their own: the frame they came in holds other things too. */
function payload(image: WireImage): Pick<ImageRequest, 'kind' | 'bytes'> {
  return 'jpeg' in image
    ? { kind: 'jpeg', bytes: new Uint8Array(image.jpeg) }
    : { kind: 'pixels', bytes: new Uint8Array(image.pixels.data) };
}

function missing(camera: string): ArmatureError {
  return new ArmatureError('missing_camera', `the observation has no picture of camera ${camera}`, {
    field: `images.${camera}`,
    fix: 'Send a picture of every camera.',
  });
}

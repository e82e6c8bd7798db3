import { ArmatureError, type EmbodimentSpec, type WireImage } from '@armature/sdk/contract';
import { ImageThread, TookTooLong } from './image-thread.ts';
import type { Claim, ImageAnswer, ImageRequest, Size } from './protocol.ts';

type Camera = EmbodimentSpec['cameras'][number];

/** Longest that a picture may take, ms; one of the largest camera that can be declared takes tenths of that. */
const LIMIT_MS = 2_000;
const LAST_TICKET = 2 ** 31 - 1;

/** A picture on its way through the threads. */
interface Picture {
  /** What a thread is sent, made anew for each, since its bytes are handed over. */
  readonly request: (claim: Claim) => ImageRequest;
  readonly resolve: (answer: ImageAnswer) => void;
  readonly reject: (error: Error) => void;
  /** Threads that have been given it and may still answer. */
  asked: number;
  /** Why a thread did not. */
  failed?: Error;
}

/**
 * Turns wire images into what the policy sees, off the event loop. A thread has one picture at a time and the
 * others wait here, first come, first served: a thread that has to be replaced takes no other's picture
 * with it. A thread without work is given a picture that its thread has not begun, since the system has not let
 * it run yet: whichever begins first has it.
 */
export class ImagePool {
  private readonly threads: ImageThread[];
  private readonly idle = new Set<ImageThread>();
  private readonly waiting: Picture[] = [];
  /** Given to one thread alone and not answered; nobody has begun one while its ticket is in its place. */
  private readonly given = new Map<Picture, Claim>();
  private readonly places: Int32Array;
  private tickets = 0;
  private closed: Error | undefined;

  private constructor(count: number, limitMs: number, onThreadLost: (error: Error) => void) {
    const places = new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT);
    this.places = new Int32Array(places);
    const begin = (i: number): ImageThread => {
      const thread = new ImageThread(`images-${i}`, places, limitMs, (error) => {
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
    const kind = 'jpeg' in image ? 'jpeg' : 'pixels';
    const request = (claim: Claim): ImageRequest => {
      return { kind, bytes: payload(image), size, target, claim };
    };
    const reply = await this.ask(request).catch((error: unknown) => {
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

  private ask(request: Picture['request']): Promise<ImageAnswer> {
    if (this.closed !== undefined) return Promise.reject(this.closed);
    return new Promise((resolve, reject) => {
      const picture: Picture = { request, resolve, reject, asked: 0 };
      const [thread] = this.idle;
      if (thread === undefined) this.waiting.push(picture);
      else this.give(thread, picture);
    });
  }

  private give(thread: ImageThread, picture: Picture): void {
    this.tickets = (this.tickets % LAST_TICKET) + 1;
    const claim = { place: this.threads.indexOf(thread), ticket: this.tickets };
    Atomics.store(this.places, claim.place, claim.ticket);
    this.given.set(picture, claim);
    void this.send(thread, picture, claim);
  }

  private async send(thread: ImageThread, picture: Picture, claim: Claim): Promise<void> {
    this.idle.delete(thread);
    picture.asked += 1;
    try {
      const reply = await thread.ask(picture.request(claim));
      this.free(thread);
      if (!('passed' in reply)) picture.resolve(reply);
    } catch (error) {
      picture.failed = error instanceof Error ? error : new Error(String(error));
    }
    picture.asked -= 1;
    this.given.delete(picture);
    // Who had it has failed, or it is answered and this is not heard.
    if (picture.asked === 0)
      picture.reject(picture.failed ?? new Error('no thread took a picture'));
  }

  private free(thread: ImageThread): void {
    // Another has its place by now.
    if (!this.threads.includes(thread)) return;
    const next = this.waiting.shift();
    if (next !== undefined) {
      this.give(thread, next);
      return;
    }
    this.idle.add(thread);
    for (const [picture, claim] of this.given) {
      if (Atomics.load(this.places, claim.place) !== claim.ticket) continue;
      this.given.delete(picture);
      void this.send(thread, picture, claim);
      return;
    }
  }
}

/** The picture's bytes in a buffer of their own: the frame they came in holds other things too. */
function payload(image: WireImage): Uint8Array {
  return new Uint8Array('jpeg' in image ? image.jpeg : image.pixels.data);
}

function missing(camera: string): ArmatureError {
  return new ArmatureError('missing_camera', `the observation has no picture of camera ${camera}`, {
    field: `images.${camera}`,
    fix: 'Send a picture of every camera.',
  });
}

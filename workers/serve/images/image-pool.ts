import { ArmatureError, type EmbodimentSpec, type WireImage } from '@armature/sdk/contract';
import { ImageThread } from './image-thread.ts';
import type { ImageRequest, Size } from './protocol.ts';

type Camera = EmbodimentSpec['cameras'][number];

/** Turns wire images into what the policy sees, off the event loop. */
export class ImagePool {
  private readonly threads: ImageThread[];

  private constructor(count: number, onThreadLost: (error: Error) => void) {
    const begin = (i: number): ImageThread =>
      new ImageThread(`images-${i}`, (error) => {
        onThreadLost(error);
        this.threads[i] = begin(i);
      });
    this.threads = Array.from({ length: count }, (_, i) => begin(i));
  }

  /**
   * Starts the threads and waits until each has done a picture.
   * @param onThreadLost told when one ended by itself; another takes its place.
   */
  static async start(count: number, onThreadLost: (error: Error) => void): Promise<ImagePool> {
    const pool = new ImagePool(count, onThreadLost);
    const size = { width: 1, height: 1 };
    await Promise.all(
      pool.threads.map((thread) =>
        thread.ask({ kind: 'pixels', bytes: new Uint8Array(3), size, target: size }),
      ),
    );
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
    await Promise.all(this.threads.map((thread) => thread.close()));
  }

  private async prepareOne(image: WireImage, camera: Camera, target: Size): Promise<Uint8Array> {
    const size = { width: camera.width, height: camera.height };
    const thread = this.threads.reduce((a, b) => (b.load < a.load ? b : a));
    const reply = await thread.ask({ ...payload(image), size, target });
    if ('pixels' in reply) return reply.pixels;
    if ('crashed' in reply) throw new Error(reply.crashed);
    const field = `images.${camera.name}`;
    throw new ArmatureError('invalid_observation', `${field} ${reply.refused}`, {
      field,
      fix: reply.fix,
    });
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

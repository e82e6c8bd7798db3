import type { Dataset } from '@armature/datasets';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { Stage } from '../jobs.ts';
import { jpeg } from '../pictures.ts';
import type { RobotEpisode } from '../stream.ts';

/** A recorded episode whose pictures are JPEGs, as a robot's cameras would send them. */
export interface CameraEpisode extends RobotEpisode {
  readonly index: number;
  /** JPEG of one frame. */
  jpeg(camera: string, frame: number): Uint8Array;
}

/**
 * Decodes an episode's videos and encodes every picture before the streaming starts, so that the
 * robot's own work is not counted as the platform's.
 */
export async function cameraEpisode(
  { screen, signal }: Stage,
  dataset: Dataset,
  spec: EmbodimentSpec,
  index: number,
): Promise<CameraEpisode> {
  const { length, instruction, state, action } = await dataset.readEpisode(index);
  const pictures = new Map<string, Uint8Array[]>();
  await screen.task(`decode episode ${index}`, async (progress) => {
    let done = 0;
    for (const { name } of spec.cameras) {
      const frames: Uint8Array[] = [];
      pictures.set(name, frames);
      await dataset.decodeFrames(
        index,
        name,
        async (t, pixels, width, height) => {
          frames[t] = await jpeg({ pixels, width, height });
          done += 1;
          progress.update(done / (length * spec.cameras.length), `${done} pictures`);
        },
        { signal },
      );
    }
    progress.done(`${done} pictures`);
  });
  const jpegOf = (camera: string, frame: number): Uint8Array => {
    const picture = pictures.get(camera)?.[frame];
    if (picture === undefined) throw new RangeError(`no frame ${frame} of ${camera}`);
    return picture;
  };
  return {
    ...{ index, spec, instruction, length, state, action },
    jpeg: jpegOf,
    picture: (camera, frame) => ({ jpeg: jpegOf(camera, frame) }),
  };
}

import type { Camera, Dataset } from '../dataset.ts';
import { decodeVideo } from '../video/decode.ts';
import { planeOf, rowBytes } from '../video/planes.ts';
import { type Findings, isFault } from './findings.ts';

/** Rows and columns between two brightness samples of a picture. */
const SAMPLE_STEP = 4;
/** Pictures that stay the same for this long are reported, in seconds. */
const FROZEN_S = 1.5;
/** Pictures past the end of an episode's rows that are still counted. */
const SURPLUS = 300;
/** A picture may be this many frame times from where the rate puts it. */
const TIME_TOLERANCE = 0.5;

export interface VideoCheck {
  readonly dataset: Dataset;
  readonly episode: number;
  readonly camera: Camera;
  /** Rows of the episode, each of which needs a picture; `null` when they are unreadable. */
  readonly rows: number | null;
  /** Rows that the episode list announces. */
  readonly expected: number;
  readonly findings: Findings;
  readonly signal: AbortSignal;
  onFrame(): void;
}

/** Decodes every picture of one video, looking at its brightness only. Returns how many. */
export async function checkVideo(check: VideoCheck): Promise<number> {
  const { dataset, episode, camera, findings } = check;
  const add = (severity: 'error' | 'warning', code: string, message: string, fix: string): void =>
    findings.add({ severity, code, message, fix, episode, feature: camera.name });
  const freeze = new Freeze();
  let blank = 0;
  let late: { index: number; seconds: number } | null = null;
  let size: { width: number; height: number } | null = null;
  let frames: number;
  try {
    frames = await decodeVideo(await dataset.video(episode, camera.name), {
      signal: check.signal,
      threads: 1,
      limit: (check.rows ?? check.expected) + SURPLUS,
      onFrame({ index, seconds, frame }) {
        const { hash, plain } = fingerprint(planeOf(frame, 0), rowBytes(frame), frame.height);
        freeze.next(index, hash);
        if (plain) blank += 1;
        if (frame.width !== camera.width || frame.height !== camera.height) {
          size ??= { width: frame.width, height: frame.height };
        }
        if (Math.abs(seconds * dataset.fps - index) > TIME_TOLERANCE) late ??= { index, seconds };
        check.onFrame();
      },
    });
  } catch (error) {
    if (!isFault(error)) throw error;
    findings.addFault(error, { episode, feature: camera.name });
    return 0;
  }
  report(add, { frames, blank, late, size, freeze, ...check });
  return frames;
}

function report(
  add: (severity: 'error' | 'warning', code: string, message: string, fix: string) => void,
  seen: VideoCheck & {
    frames: number;
    blank: number;
    late: { index: number; seconds: number } | null;
    size: { width: number; height: number } | null;
    freeze: Freeze;
  },
): void {
  const { episode, camera, frames, rows, late, size } = seen;
  const where = `episode ${episode}, camera ${camera.name}`;
  if (rows !== null && frames < rows) {
    add(
      'error',
      'video_short',
      `${where}: the video has ${frames} frames for ${rows} rows`,
      `Export the video of episode ${episode} again, or cut its rows to ${frames}.`,
    );
  } else if (rows !== null && frames > rows) {
    add(
      'warning',
      'video_long',
      `${where}: the video has ${frames === rows + SURPLUS ? 'at least ' : ''}${frames} frames for ${rows} rows; the rest is not used`,
      'Cut the video to the rows of its episode.',
    );
  }
  if (size !== null) {
    add(
      'error',
      'video_size',
      `${where}: pictures have ${size.width}×${size.height} pixels, meta/info.json says ${camera.width}×${camera.height}`,
      'Correct the shape in meta/info.json or encode the video at that size.',
    );
  }
  if (late !== null) {
    add(
      'error',
      'video_time',
      `${where}: frame ${late.index} is shown at ${late.seconds.toFixed(3)} s, at ${seen.dataset.fps} frames a second it belongs to ${(late.index / seen.dataset.fps).toFixed(3)} s`,
      `Encode the video at ${seen.dataset.fps} frames a second without dropped frames.`,
    );
  }
  const frozen = seen.freeze.longest;
  if (frozen.length > FROZEN_S * seen.dataset.fps) {
    add(
      'warning',
      'frozen_frames',
      `${where}: the picture stays the same from frame ${frozen.start} for ${frozen.length} frames`,
      'Check that the camera was running.',
    );
  }
  if (seen.blank > 0) {
    add(
      'warning',
      'blank_frames',
      `${where}: ${seen.blank} pictures are of one brightness`,
      'Check that the camera was uncovered and connected.',
    );
  }
}

/** Longest run of equal pictures. */
class Freeze {
  longest = { start: 0, length: 1 };
  #start = 0;
  #hash: number | null = null;

  next(index: number, hash: number): void {
    if (hash !== this.#hash) {
      this.#start = index;
      this.#hash = hash;
    }
    const length = index - this.#start + 1;
    if (length > this.longest.length) this.longest = { start: this.#start, length };
  }
}

/** Hash (FNV-1a) of a grid of samples of a plane, and whether they are all the same. */
function fingerprint(
  plane: { bytes: Uint8Array; stride: number },
  width: number,
  height: number,
): { hash: number; plain: boolean } {
  const { bytes, stride } = plane;
  let hash = 0x811c9dc5;
  let low = 255;
  let high = 0;
  for (let y = 0; y < height; y += SAMPLE_STEP) {
    const end = y * stride + width;
    for (let i = y * stride; i < end; i += SAMPLE_STEP) {
      const value = bytes[i] ?? 0;
      hash = Math.imul(hash ^ value, 0x01000193);
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return { hash, plain: low === high };
}

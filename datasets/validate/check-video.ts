import type { Camera, Dataset } from '../dataset.ts';
import { decodeVideo } from '../video/decode.ts';
import { encodeJpeg, type Jpeg } from '../video/encode-jpeg.ts';
import { type Plane, planeOf, rowBytes } from '../video/planes.ts';
import { type Findings, isFault } from './findings.ts';

/** Rows and columns between two brightness samples of a picture. */
const SAMPLE_STEP = 4;
/** Pictures that stay the same for this long are reported, in seconds. */
const FROZEN_S = 1.5;
/** Pictures that repeat the one before while the robot moves are reported from this number and share on. */
const REPEATS = 3;
const REPEATED_SHARE = 0.2;
/** Longest side of a picture that is shown to people, in pixels. */
const SHOWN_SIDE = 160;
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
  /** Frames in which the robot moves, [rows]; empty when the rows are unreadable. */
  readonly moving: readonly boolean[];
  /** Rows that the episode list announces. */
  readonly expected: number;
  readonly findings: Findings;
  readonly signal: AbortSignal;
  onFrame(): void;
  readonly onPicture?: (picture: EpisodePicture) => Promise<void>;
}

/** One picture of an episode, as a small JPEG. */
export interface EpisodePicture {
  readonly episode: number;
  readonly camera: string;
  readonly frame: number;
  readonly jpeg: Jpeg;
}

/** Decodes every picture of one video, looking at its brightness only. Returns how many. */
export async function checkVideo(check: VideoCheck): Promise<number> {
  const { dataset, episode, camera, findings } = check;
  const add = (severity: 'error' | 'warning', code: string, message: string, fix: string): void =>
    findings.add({ severity, code, message, fix, episode, feature: camera.name });
  const freeze = new Freeze();
  const before = new PictureBefore();
  let blank = 0;
  let late: { index: number; seconds: number } | null = null;
  let size: { width: number; height: number } | null = null;
  let frames: number;
  const shown = picturesShown(check.rows ?? check.expected);
  try {
    frames = await decodeVideo(await dataset.video(episode, camera.name), {
      signal: check.signal,
      threads: 1,
      limit: (check.rows ?? check.expected) + SURPLUS,
      async onFrame({ index, seconds, frame }) {
        const plane = planeOf(frame, 0);
        const { hash, plain } = fingerprint(plane, rowBytes(frame), frame.height);
        const isSame = before.isSame(plane, rowBytes(frame), frame.height);
        freeze.next(index, hash, isSame, check.moving[index] === true);
        if (plain) blank += 1;
        if (frame.width !== camera.width || frame.height !== camera.height) {
          size ??= { width: frame.width, height: frame.height };
        }
        if (Math.abs(seconds * dataset.fps - index) > TIME_TOLERANCE) late ??= { index, seconds };
        check.onFrame();
        if (check.onPicture === undefined || !shown.has(index)) return;
        const jpeg = await encodeJpeg(frame, SHOWN_SIDE);
        await check.onPicture({ episode, camera: camera.name, frame: index, jpeg });
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

/** The first, the middle and the last of so many frames. */
const picturesShown = (rows: number): Set<number> =>
  new Set([0, Math.floor((rows - 1) / 2), rows - 1]);

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
  const { repeats, moving } = seen.freeze;
  if (
    frozen.length <= FROZEN_S * seen.dataset.fps &&
    repeats >= REPEATS &&
    repeats > REPEATED_SHARE * moving
  ) {
    add(
      'warning',
      'repeated_frames',
      `${where}: ${repeats} of the ${moving} pictures taken while the robot moves are the picture before`,
      `Check that the camera gives ${seen.dataset.fps} pictures a second.`,
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

/** Longest run of equal pictures, and how many of those taken in motion are the one before. */
class Freeze {
  longest = { start: 0, length: 1 };
  moving = 0;
  repeats = 0;
  #start = 0;
  #hash: number | null = null;

  next(index: number, hash: number, isSame: boolean, isMoving: boolean): void {
    if (isMoving) this.moving += 1;
    if (isMoving && isSame) this.repeats += 1;
    if (hash !== this.#hash) {
      this.#start = index;
      this.#hash = hash;
    }
    const length = index - this.#start + 1;
    if (length > this.longest.length) this.longest = { start: this.#start, length };
  }
}

/** Compares each picture with the one before, in every brightness. */
class PictureBefore {
  #bytes = new Uint8Array(0);

  isSame({ bytes, stride }: Plane, width: number, height: number): boolean {
    const isFirst = this.#bytes.length !== width * height;
    if (isFirst) this.#bytes = new Uint8Array(width * height);
    let isSame = !isFirst;
    for (let y = 0; y < height; y += 1) {
      const row = bytes.subarray(y * stride, y * stride + width);
      const kept = this.#bytes.subarray(y * width, (y + 1) * width);
      isSame &&= Buffer.compare(row, kept) === 0;
      if (!isSame) kept.set(row);
    }
    return isSame;
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

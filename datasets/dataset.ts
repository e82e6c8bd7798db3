/** A sentence that says what the robot does in the frames `from` to `to` (exclusive). */
export interface Label {
  readonly from: number;
  readonly to: number;
  readonly text: string;
  /** What wrote it, e.g. `joints`, `vision:gpt-4o-mini` or the name of a simulator. */
  readonly source: string;
}

export interface Camera {
  readonly name: string;
  /** Name of the feature in the files, e.g. `observation.images.cam_high`. */
  readonly feature: string;
  readonly width: number;
  readonly height: number;
  /** As the set's own description names it, e.g. `av1`; `null` where it does not say. */
  readonly codec: string | null;
}

export interface EpisodeInfo {
  readonly index: number;
  /** Frames, as the set's episode list says. */
  readonly length: number;
  readonly task: string;
}

/** The numbers of one episode, row-major over time. */
export interface Episode {
  readonly index: number;
  /** Rows that are really there. */
  readonly length: number;
  readonly instruction: string;
  /** f32 [length · state dimension]. */
  readonly state: Float32Array;
  /** f32 [length · action dimension]. */
  readonly action: Float32Array;
  /** Seconds since the episode's start, [length]. */
  readonly timestamps: Float32Array;
  /** Empty where the set has none. */
  readonly labels: readonly Label[];
}

export interface DecodeOptions {
  readonly signal?: AbortSignal;
  /** Decoder threads; 2 when absent. */
  readonly threads?: number;
}

/** Receives frame `t` as u8 [height, width, 3]. The array is the receiver's to keep. */
export type OnFrame = (
  t: number,
  rgb: Uint8Array,
  width: number,
  height: number,
) => void | Promise<void>;

/** One way of reading demonstrations, whatever their layout on disk. */
export interface Dataset {
  /** Layout and version, e.g. `lerobot-v2.1`. */
  readonly format: string;
  readonly robotType: string;
  readonly fps: number;
  readonly stateNames: readonly string[];
  readonly actionNames: readonly string[];
  readonly cameras: readonly Camera[];
  readonly tasks: readonly string[];
  readonly episodes: readonly EpisodeInfo[];
  /** @throws ArmatureError `not_found` (no such episode or file), `invalid_dataset` (broken file). */
  readEpisode(index: number): Promise<Episode>;
  /**
   * Decodes every frame of one episode's video in order and returns how many there were.
   * @throws ArmatureError `not_found`, `invalid_dataset` (broken video), `cancelled`.
   */
  decodeFrames(
    index: number,
    camera: string,
    onFrame: OnFrame,
    options?: DecodeOptions,
  ): Promise<number>;
  /** Where the pictures of an episode lie; the picture checks and the frame cache decode them apart. */
  video(index: number, camera: string): Promise<VideoInput>;
  /** Gives back what reading has taken (local copies of files); nothing can be read afterwards. */
  close(): Promise<void>;
}

/** The part of a video that is one episode's: its pictures from `from` to before `to`, in seconds. */
export interface VideoClip {
  readonly from: number;
  readonly to: number;
  /** Pictures a second: a picture belongs to the clip up to half a frame time before its ends. */
  readonly fps: number;
}

/** One picture that stands alone. */
export interface StillPicture {
  /** Seconds since the first one. */
  readonly seconds: number;
  readonly width: number;
  readonly height: number;
  /** `jpeg` and `png` are files; `rgb8` is u8 [height, width, 3]; `bgr8` the same, blue first. */
  readonly encoding: 'jpeg' | 'png' | 'rgb8' | 'bgr8';
  readonly bytes: Uint8Array;
}

/** Pictures as the decoder takes them: a video file, one read in ranges, or single pictures. */
export type VideoInput =
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly name: string;
      /** All of the video when absent. */
      readonly clip?: VideoClip;
    }
  | {
      readonly kind: 'ranges';
      readonly name: string;
      readonly size: number;
      readonly read: (range: { start: number; end: number }) => Promise<Uint8Array>;
      readonly clip?: VideoClip;
    }
  | {
      readonly kind: 'pictures';
      readonly name: string;
      /** In the order of time; each is valid until the next is asked for. */
      readonly pictures: () => AsyncIterable<StillPicture> | Iterable<StillPicture>;
    };

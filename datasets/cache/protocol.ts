import type { VideoClip } from '../dataset.ts';

/** What a decoding thread is started with. */
export interface DecoderSettings {
  /** Module that exports `preprocessImage`. */
  readonly preprocessModule: string;
  readonly size: { readonly width: number; readonly height: number };
}

/** Main thread → decoding thread. */
export type DecoderRequest =
  | {
      readonly kind: 'decode';
      /** Local path of the video, and its name in messages. */
      readonly video: string;
      /** `pictures` when the file is what `writePictures` writes. */
      readonly content: 'video' | 'pictures';
      /** The part of the video that is wanted. */
      readonly clip?: VideoClip;
      readonly name: string;
      /** File that appears, complete, when the video is done. */
      readonly output: string;
      /** Frames that the video must have at least. */
      readonly frames: number;
    }
  | { readonly kind: 'cancel' };

/** Decoding thread → main thread. */
export type DecoderReply =
  | { readonly kind: 'progress'; readonly frames: number }
  | { readonly kind: 'done' }
  | {
      readonly kind: 'failed';
      readonly code: string;
      readonly message: string;
      readonly field: string | undefined;
      readonly fix: string | undefined;
    };

/** The one pre-processing function, as the module of `DecoderSettings` exports it. */
export type PreprocessImage = (
  rgb: Uint8Array,
  width: number,
  height: number,
  target: { readonly width: number; readonly height: number },
) => Uint8Array;

import type { EmbodimentSpec } from '@armature/sdk/contract';
import { imageSize } from '../data/index.ts';
import type { Signature } from '../divla/index.ts';

/** A sentence that was true for the frames [from, to). */
export interface ReasoningLabel {
  readonly from: number;
  readonly to: number;
  readonly text: string;
  readonly source: string;
}

/** One demonstration as training reads it. */
export interface TrainingEpisode {
  readonly index: number;
  readonly length: number;
  readonly instruction: string;
  /** f32 [T·S] and [T·A], raw units. */
  readonly state: Float32Array;
  readonly action: Float32Array;
  readonly labels: readonly ReasoningLabel[];
  /** Pre-processed picture u8 [h, w, 3]. */
  image(camera: string, t: number): Uint8Array;
}

/** A frame of a set of episodes. */
export interface FrameRef {
  /** Place of the episode in the list, not its index in the data set. */
  readonly episode: number;
  readonly t: number;
}

/** Every frame of the episodes, in order. */
export function framesOf(
  episodes: readonly TrainingEpisode[],
  chosen: readonly number[],
): FrameRef[] {
  return chosen.flatMap((episode) =>
    Array.from({ length: episodes[episode]?.length ?? 0 }, (_, t) => ({ episode, t })),
  );
}

/** The sentence in force at a frame; empty where none is. */
export function labelAt(episode: TrainingEpisode, t: number): string {
  return episode.labels.find((label) => label.from <= t && t < label.to)?.text ?? '';
}

const FEWEST_TO_SET_ASIDE = 10;
const SHARE_SET_ASIDE = 0.08;

/**
 * Splits episodes into those that are trained on and those set aside, on which the sampler is
 * chosen: every k-th one, none of a set of fewer than ten.
 */
export function setAside(count: number): { training: number[]; aside: number[] } {
  const all = Array.from({ length: count }, (_, i) => i);
  if (count < FEWEST_TO_SET_ASIDE) return { training: all, aside: [] };
  const every = Math.round(1 / SHARE_SET_ASIDE);
  const isAside = (i: number): boolean => i % every === every >> 1;
  return { training: all.filter((i) => !isAside(i)), aside: all.filter(isAside) };
}

/** Cameras of a spec in order of their view slots: externals, then wrists. */
export function orderedCameras(spec: EmbodimentSpec): {
  names: string[];
  external: number;
  wrist: number;
} {
  const of = (kind: 'external' | 'wrist'): string[] =>
    spec.cameras.filter((camera) => camera.kind === kind).map((camera) => camera.name);
  const external = of('external');
  const wrist = of('wrist');
  return { names: [...external, ...wrist], external: external.length, wrist: wrist.length };
}

/** What graphs for an embodiment are built for: its views by kind, the size of their pictures, its horizon. */
export function signatureOf(spec: EmbodimentSpec): Signature {
  const { external, wrist } = orderedCameras(spec);
  return { external, wrist, ...imageSize(spec), horizon: spec.horizon };
}

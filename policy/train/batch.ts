import {
  boundState,
  earlierInEpisode,
  encodeActions,
  encodeCommand,
  encodeInstruction,
  encodeReasoning,
  encodeState,
  encodeVelocity,
  seeded,
  stateJoints,
  type Normalisation,
  type Random,
} from '../data/index.ts';
import { alphasCumprod, type DivlaConfig, type Signature } from '../divla/index.ts';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { Value } from '../engine/index.ts';
import { augmentInto } from './augment.ts';
import { labelAt, orderedCameras, type FrameRef, type TrainingEpisode } from './episodes.ts';
import type { FeatureCache } from './features.ts';
import type { ResolvedFinetuneOptions } from './options.ts';
import { spokenPlace } from './passes.ts';
import { drawPrefixes } from './prefix-delay.ts';

export interface BatchSource {
  readonly config: DivlaConfig;
  readonly signature: Signature;
  readonly spec: EmbodimentSpec;
  readonly normalisation: Normalisation;
  readonly episodes: readonly TrainingEpisode[];
  readonly frames: readonly FrameRef[];
  readonly options: ResolvedFinetuneOptions;
  /** f32 [S], as `postureSpread` gives it. */
  readonly spread: Float32Array;
  /** f32 [A], as `actionWeights` gives them. */
  readonly weights: Float32Array;
  /** Features of the frozen trunk by frame; absent where the trunk trains. */
  readonly features?: FeatureCache;
}

/** The batch of a step: a function of the seed and the step alone. */
export function trainingBatch(source: BatchSource, step: number): Record<string, Value> {
  const { options, frames } = source;
  const random = seeded(options.seed, 11, step);
  const chosen = Array.from({ length: options.batchSize }, () => random.integer(frames.length));
  const rows = chosen.map((i) => frames[i] as FrameRef);
  return {
    ...motion(source, rows, random),
    ...noise(source, random),
    ...prefixes(source, step),
    ...(source.features === undefined
      ? pictures(source, rows, random)
      : cachedFeatures(source, source.features, chosen, random)),
  };
}

const f32 = (shape: readonly number[], data: Float32Array): Value => ({
  dtype: 'float32',
  shape,
  data,
});

function motion(
  source: BatchSource,
  rows: readonly FrameRef[],
  random: Random,
): Record<string, Value> {
  const { config, spec, normalisation, episodes, options } = source;
  const { dims } = config.head;
  const { horizon } = spec;
  const states = spec.state.length;
  const actions = spec.action.length;
  const joints = stateJoints(spec);
  const usesCommand = normalisation.action.some((a) => a.reference === 'last_command');
  const n = rows.length;
  const state = new Float32Array(n * dims);
  const command = new Float32Array(n * dims);
  const known = new Float32Array(n);
  const clean = new Float32Array(n * horizon * dims);
  const keep = new Float32Array(n * horizon * dims);
  rows.forEach(({ episode, t }, r) => {
    const demo = episodes[episode] as TrainingEpisode;
    const felt = demo.state.subarray(t * states, (t + 1) * states);
    const dropped = random.uniform() < options.commandDropout;
    const last =
      usesCommand && t > 0 && !dropped
        ? demo.action.subarray((t - 1) * actions, t * actions)
        : undefined;
    state.set(blurState(encodeState(normalisation, felt, dims), source, random), r * dims);
    const velocity = dropped ? undefined : drawnVelocity(source, demo, t, felt, random);
    const moving =
      last === undefined ? velocity : encodeCommand(normalisation, last, felt, joints, dims);
    if (moving !== undefined) {
      command.set(moving, r * dims);
      known[r] = 1;
    }
    const steps = Math.min(horizon, demo.length - t);
    const at = r * horizon * dims;
    const clip = config.diffusion.clip;
    encodeActions(
      normalisation,
      demo.action,
      t * actions,
      steps,
      felt,
      last,
      clean,
      at,
      dims,
      clip,
    );
    for (let k = 0; k < steps; k++) keep.set(source.weights, at + k * dims);
    // Steps past the end are not scored; holding the last one keeps the chunk smooth.
    for (let k = steps; k < horizon; k++) {
      clean.copyWithin(at + k * dims, at + (steps - 1) * dims, at + steps * dims);
    }
  });
  return {
    state: f32([n, dims], state),
    command: f32([n, dims], command),
    known: f32([n, 1], known),
    clean: f32([n, horizon, dims], clean),
    keep: f32([n, horizon, dims], keep),
  };
}

/** Velocity since an earlier frame, as far back as chance says: robots ask anew at their own pace. */
function drawnVelocity(
  { config, spec, normalisation }: BatchSource,
  demo: TrainingEpisode,
  t: number,
  felt: Float32Array,
  random: Random,
): Float32Array | undefined {
  if (normalisation.velocity === undefined || t === 0) return undefined;
  const { horizon } = spec;
  const periods = 1 + random.integer(horizon);
  const earlier = earlierInEpisode(demo, t, { horizon, width: spec.state.length, periods });
  return encodeVelocity(normalisation, earlier, felt, horizon, config.head.dims);
}

/** The normalised state with noise on every joint and some joints unknown (at their mean); in place. */
function blurState(
  state: Float32Array,
  { options: { stateNoise, postureNoise, stateDropout }, spread }: BatchSource,
  random: Random,
): Float32Array {
  if (stateNoise === 0 && postureNoise === 0 && stateDropout === 0) return state;
  spread.forEach((far, i) => {
    const amount = Math.hypot(stateNoise, postureNoise * far);
    const noisy = boundState((state[i] as number) + amount * random.normal());
    state[i] = random.uniform() < stateDropout ? 0 : noisy;
  });
  return state;
}

function noise(source: BatchSource, random: Random): Record<string, Value> {
  const { config, options, spec } = source;
  const { dims } = config.head;
  const rows = options.batchSize * options.draws;
  const bars = alphasCumprod(config.diffusion.trainSteps);
  const levels = new Float32Array(rows * 3);
  const data = new Float32Array(rows * spec.horizon * dims);
  const width = spec.action.length;
  for (let i = 0; i < rows; i++) {
    const t = random.integer(config.diffusion.trainSteps);
    const bar = bars[t] as number;
    levels.set([t, Math.sqrt(bar), Math.sqrt(1 - bar)], i * 3);
    for (let k = 0; k < spec.horizon; k++) {
      const at = (i * spec.horizon + k) * dims;
      for (let a = 0; a < width; a++) data[at + a] = random.normal();
    }
  }
  return {
    noise: f32([rows, spec.horizon, dims], data),
    levels: f32([rows, 3], levels),
  };
}

function prefixes({ options, spec }: BatchSource, step: number): Record<string, Value> {
  const { seed, prefixDelayMax: most, batchSize } = options;
  if (most === 0) return {};
  const draws = batchSize * options.draws;
  const { horizon } = spec;
  return { given: f32([draws, horizon], drawPrefixes({ seed, step, draws, most, horizon })) };
}

/** Pictures and words of rows, for a graph whose trunk trains. */
function pictures(
  source: BatchSource,
  rows: readonly FrameRef[],
  random: Random,
): Record<string, Value> {
  const { config, signature, spec, episodes, options } = source;
  const { width, height } = signature;
  const { names } = orderedCameras(spec);
  const views = names.length;
  const pixels = width * height * 3;
  const n = rows.length;
  const images = new Uint8Array(n * views * pixels);
  const { textTokens, reasoningTokens } = config.language;
  const tokens = new BigInt64Array(n * textTokens);
  const mask = new Float32Array(n * textTokens);
  const spoken = options.spoken;
  const said = new BigInt64Array(spoken * reasoningTokens);
  const saidMask = new Float32Array(spoken * reasoningTokens);
  const labels = new BigInt64Array(spoken * reasoningTokens);
  rows.forEach(({ episode, t }, r) => {
    const demo = episodes[episode] as TrainingEpisode;
    if (options.images === 'use') {
      names.forEach((camera, v) => {
        const at = (r * views + v) * pixels;
        augmentInto(images, at, demo.image(camera, t), width, height, random, options.augment);
      });
    }
    const text = encodeInstruction(config, demo.instruction);
    tokens.set(text.tokens, r * textTokens);
    mask.set(text.mask, r * textTokens);
    const place = spokenPlace(r, { rows: n, spoken, passes: options.passes });
    if (place !== undefined) {
      const words = encodeReasoning(config, labelAt(demo, t));
      said.set(words.said, place * reasoningTokens);
      saidMask.set(words.mask, place * reasoningTokens);
      labels.set(words.labels, place * reasoningTokens);
    }
  });
  return {
    images: { dtype: 'uint8', shape: [n, views, height, width, 3], data: images },
    tokens: { dtype: 'int64', shape: [n, textTokens], data: tokens },
    token_mask: f32([n, textTokens], mask),
    present: f32([n, views], new Float32Array(n * views).fill(1)),
    ...(spoken === 0
      ? {}
      : {
          said: { dtype: 'int64', shape: [spoken, reasoningTokens], data: said } as const,
          said_mask: f32([spoken, reasoningTokens], saidMask),
          labels: { dtype: 'int64', shape: [spoken, reasoningTokens], data: labels } as const,
        }),
  };
}

function cachedFeatures(
  source: BatchSource,
  cache: FeatureCache,
  chosen: readonly number[],
  random: Random,
): Record<string, Value> {
  const n = chosen.length;
  const summary = new Float32Array(n * cache.summaryWidth);
  const reasoning = new Float32Array(n * cache.reasoningWidth);
  chosen.forEach((frame, r) => {
    summary.set(cache.summary(frame), r * cache.summaryWidth);
    if (random.uniform() >= source.options.reasoningDropout) {
      reasoning.set(cache.reasoning(frame), r * cache.reasoningWidth);
    }
  });
  return {
    summary: f32([n, cache.views, cache.summaryWidth / cache.views], summary),
    reasoning: f32([n, cache.reasoningWidth], reasoning),
  };
}

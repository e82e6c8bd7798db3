import { encodeInstruction, encodeReasoning } from '../data/index.ts';
import {
  featureGraph,
  quantiseTrunk,
  summaryWidth,
  type DivlaConfig,
  type QuantisedLayers,
  type Signature,
} from '../divla/index.ts';
import type { Engine, Value } from '../engine/index.ts';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { ParamSpec } from '../nn/params.ts';
import { toOnnx } from '../tensor/index.ts';
import { labelAt, orderedCameras, type FrameRef, type TrainingEpisode } from './episodes.ts';

/** What the frozen trunk makes of every training frame, by place in the list of frames. */
export interface FeatureCache {
  readonly views: number;
  /** Values of a frame's summaries, all views together. */
  readonly summaryWidth: number;
  readonly reasoningWidth: number;
  summary(frame: number): Float32Array;
  reasoning(frame: number): Float32Array;
}

const ROWS = 16;

/** How far frozen layers in few bits are from float32's: error over size, root mean square. */
export interface QuantisedDifference {
  readonly form: QuantisedLayers['form'];
  readonly weights: number;
  /** Of the features of the first frames: what views show, and the reasoning that is injected. */
  readonly views: number;
  readonly reasoning: number;
}

interface FeatureOptions {
  engine: Engine;
  config: DivlaConfig;
  signature: Signature;
  spec: EmbodimentSpec;
  weights: ReadonlyMap<string, Float32Array>;
  specs: readonly ParamSpec[];
  episodes: readonly TrainingEpisode[];
  frames: readonly FrameRef[];
  blank: boolean;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/**
 * Computes the features of all frames once, `ROWS` at a time.
 * @param o.form what the frozen layers are held in; float32 without it
 * @param o.onQuantised told how far quantised layers are from float32's, where there are some
 */
export async function computeFeatures(
  o: FeatureOptions & {
    form?: QuantisedLayers['form'];
    onQuantised?: (difference: QuantisedDifference) => void;
  },
): Promise<FeatureCache> {
  if (o.form === undefined) return featuresOf(o);
  const quantised = quantiseTrunk(o.specs, o.weights, o.form);
  const features = await featuresOf(o, quantised);
  const { onProgress: _, ...silent } = o;
  const plain = await featuresOf({ ...silent, frames: o.frames.slice(0, ROWS) });
  const count = Math.min(ROWS, o.frames.length);
  o.onQuantised?.({
    form: o.form,
    weights: quantised.error,
    views: relativeError(features, plain, 'summary', count),
    reasoning: relativeError(features, plain, 'reasoning', count),
  });
  return features;
}

/** Root of the mean squared difference over that of the values, over the first `count` frames. */
function relativeError(
  got: FeatureCache,
  want: FeatureCache,
  part: 'summary' | 'reasoning',
  count: number,
): number {
  let [squares, differences] = [0, 0];
  for (let frame = 0; frame < count; frame++) {
    const values = got[part](frame);
    want[part](frame).forEach((value, i) => {
      squares += value ** 2;
      differences += ((values[i] ?? NaN) - value) ** 2;
    });
  }
  return Math.sqrt(differences / squares);
}

async function featuresOf(o: FeatureOptions, quantised?: QuantisedLayers): Promise<FeatureCache> {
  const { engine, config, signature, spec, episodes, frames } = o;
  const { names } = orderedCameras(spec);
  const views = names.length;
  const pixels = signature.width * signature.height * 3;
  const wide = views * summaryWidth(config);
  const deep = config.decoder.reasoning;
  const { textTokens, reasoningTokens } = config.language;
  const graph = featureGraph(config, signature, ROWS, quantised);
  const resident: Record<string, string> = {};
  const values: Record<string, Value> = {};
  for (const { name, tensor } of graph.inputs) {
    const data = o.weights.get(name);
    if (data === undefined) continue;
    values[name] = { dtype: 'float32', shape: tensor.shape, data };
    resident[name] = `features/${name}`;
  }
  await engine.load('features', toOnnx(graph));
  await engine.put('features', values);
  o.onProgress?.(0, frames.length);
  const summaries = new Float32Array(frames.length * wide);
  const reasonings = new Float32Array(frames.length * deep);
  for (let start = 0; start < frames.length; start += ROWS) {
    o.signal?.throwIfAborted();
    const images = new Uint8Array(ROWS * views * pixels);
    const tokens = new BigInt64Array(ROWS * textTokens);
    const mask = new Float32Array(ROWS * textTokens);
    const said = new BigInt64Array(ROWS * reasoningTokens);
    const saidMask = new Float32Array(ROWS * reasoningTokens);
    for (let r = 0; r < ROWS; r++) {
      const frame = frames[Math.min(start + r, frames.length - 1)] as FrameRef;
      const demo = episodes[frame.episode] as TrainingEpisode;
      if (!o.blank) {
        names.forEach((camera, v) => {
          images.set(demo.image(camera, frame.t), (r * views + v) * pixels);
        });
      }
      const text = encodeInstruction(config, demo.instruction);
      tokens.set(text.tokens, r * textTokens);
      mask.set(text.mask, r * textTokens);
      const words = encodeReasoning(config, labelAt(demo, frame.t));
      said.set(words.said, r * reasoningTokens);
      saidMask.set(words.mask, r * reasoningTokens);
    }
    const out = await engine.run(
      'features',
      {
        images: {
          dtype: 'uint8',
          shape: [ROWS, views, signature.height, signature.width, 3],
          data: images,
        },
        tokens: { dtype: 'int64', shape: [ROWS, textTokens], data: tokens },
        token_mask: { dtype: 'float32', shape: [ROWS, textTokens], data: mask },
        present: {
          dtype: 'float32',
          shape: [ROWS, views],
          data: new Float32Array(ROWS * views).fill(1),
        },
        said: { dtype: 'int64', shape: [ROWS, reasoningTokens], data: said },
        said_mask: { dtype: 'float32', shape: [ROWS, reasoningTokens], data: saidMask },
      },
      { resident, move: true },
    );
    const count = Math.min(ROWS, frames.length - start);
    copyRows(out['summary'], wide, count, summaries, start);
    copyRows(out['reasoning'], deep, count, reasonings, start);
    o.onProgress?.(start + count, frames.length);
  }
  await engine.unload('features');
  await engine.drop('features');
  return {
    views,
    summaryWidth: wide,
    reasoningWidth: deep,
    summary: (i) => summaries.subarray(i * wide, (i + 1) * wide),
    reasoning: (i) => reasonings.subarray(i * deep, (i + 1) * deep),
  };
}

function copyRows(
  value: Value | undefined,
  width: number,
  count: number,
  out: Float32Array,
  start: number,
): void {
  if (!(value?.data instanceof Float32Array)) throw new RangeError('the trunk gave no features');
  out.set(value.data.subarray(0, count * width), start * width);
}

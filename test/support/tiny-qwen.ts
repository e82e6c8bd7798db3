import {
  languageModel,
  placeVisual,
  promptMask,
  promptPositions,
  qwenVision,
  qwenVisionShape,
  visualPlaces,
  type DecodeInput,
  type HuggingFaceModel,
  type LanguageModel,
  type QwenVisionResult,
  type QwenVisionShape,
  type VisionGrid,
} from '../../policy/backbones/index.ts';
import type { Values } from '../../policy/engine/index.ts';
import type { Params } from '../../policy/nn/params.ts';
import { crossEntropy, slice, type Graph, type Tensor } from '../../policy/tensor/index.ts';
import { readFixtureJson } from './fixtures.ts';
import { readReference, type Reference } from './parity.ts';
import { feedOf } from './tiny-models.ts';

/** The tiny Qwen2-VL of the reference outputs, with its batch of two prompts and their images. */

export const TINY_QWEN = 'qwen2-vl-tiny';

interface Meta {
  readonly folders: Readonly<Record<string, string>>;
  readonly special_ids: { readonly image_pad: number };
  readonly tolerance: Readonly<Record<string, number>>;
}

export interface TinyQwen {
  readonly meta: Meta;
  readonly outputs: Reference;
  /** Prompts, and the tokens of each, padding included. */
  readonly rows: number;
  readonly length: number;
  readonly grids: readonly VisionGrid[];
  /** Whether the token that holds the element `index` of a tensor […, width] is none of the padding. */
  isReal(index: number, width: number): boolean;
  /** Positions on three axes, and what generated tokens add, by the house's own count. */
  positions(merge: number): { positions: BigInt64Array; deltas: readonly number[] };
  /** Everything that graphs of this batch read, less the weights. */
  feeds(merge: number): Values;
}

export async function readTinyQwen(): Promise<TinyQwen> {
  const meta = (await readFixtureJson(TINY_QWEN, 'meta.json')) as Meta;
  const inputs = await readReference(TINY_QWEN, 'inputs.safetensors');
  const outputs = await readReference(TINY_QWEN, 'outputs.safetensors');
  const wholes = (name: string): BigInt64Array => {
    const { data } = inputs.at(name);
    if (data instanceof BigInt64Array) return data;
    throw new RangeError(`${name} holds no whole numbers`);
  };
  const [ids, keep, sizes] = [
    wholes('input_ids'),
    wholes('attention_mask'),
    wholes('image_grid_thw'),
  ];
  const [rows = 0, length = 0] = inputs.at('input_ids').shape;
  const grids = Array.from({ length: sizes.length / 3 }, (_, i): VisionGrid => {
    const [time = 0, height = 0, width = 0] = [...sizes.slice(3 * i, 3 * i + 3)].map(Number);
    return { time, height, width };
  });
  const imageToken = meta.special_ids.image_pad;
  const positions = (merge: number) =>
    promptPositions({ ids, keep, rows, imageToken, merge, images: grids });
  return {
    meta,
    outputs,
    rows,
    length,
    grids,
    isReal: (index, width) => keep[Math.floor(index / width)] === 1n,
    positions,
    feeds(merge) {
      const counted = positions(merge);
      const start = counted.deltas.map((delta, row) => {
        const real = keep.slice(row * length, (row + 1) * length).filter((k) => k === 1n).length;
        return BigInt(delta + real);
      });
      return {
        ...Object.fromEntries(
          ['input_ids', 'attention_mask', 'labels', 'pixel_values'].map((name) => [
            name,
            feedOf(inputs.at(name)),
          ]),
        ),
        places: { dtype: 'int64', shape: [rows, length], data: visualPlaces(ids, imageToken) },
        positions: { dtype: 'int64', shape: [3, rows, length], data: counted.positions },
        start: { dtype: 'int64', shape: [rows], data: BigInt64Array.from(start) },
      };
    },
  };
}

export interface QwenPrompt {
  readonly language: LanguageModel;
  readonly vision: QwenVisionShape;
  readonly seen: QwenVisionResult;
  readonly prompt: DecodeInput;
}

/** The model up to the prompt's embeddings, with images put in; inputs have the names of `feeds`. */
export function embedPrompt(
  graph: Graph,
  params: Params,
  tiny: TinyQwen,
  folder: HuggingFaceModel,
): QwenPrompt {
  const { rows, length, grids } = tiny;
  const language = languageModel(folder.config);
  const vision = qwenVisionShape(folder.config);
  const patches = grids.reduce((sum, g) => sum + g.time * g.height * g.width, 0);
  const inner = vision.channels * vision.frames * vision.patch ** 2;
  const pixels = graph.input('pixel_values', 'float32', [patches, inner]);
  const seen = qwenVision(params.scope('visual'), vision, grids, pixels);
  const ids = graph.input('input_ids', 'int64', [rows, length]);
  const places = graph.input('places', 'int64', [rows, length]);
  return {
    language,
    vision,
    seen,
    prompt: {
      x: placeVisual(language.embed(params, ids), seen.merged, places),
      positions: graph.input('positions', 'int64', [3, rows, length]),
      mask: promptMask(graph.input('attention_mask', 'int64', [rows, length])),
    },
  };
}

/** Mean cross-entropy of each next token, by labels that are shifted here. */
export function nextTokenLoss(graph: Graph, tiny: TinyQwen, logits: Tensor): Tensor {
  const labels = graph.input('labels', 'int64', [tiny.rows, tiny.length]);
  return crossEntropy(slice(logits, 1, 0, tiny.length - 1), slice(labels, 1, 1, tiny.length));
}

import { z } from 'zod';
import { bankPair, type Bank } from '../nn/bank.ts';
import { lastDim } from '../nn/layers.ts';
import { fanIn, zeros, type Adapt, type ParamSpec } from '../nn/params.ts';
import { add, mul } from '../tensor/index.ts';
import { mergeLora } from './merge.ts';

/** What the pairs of a fine-tuned trunk are made of; part of its policy's manifest. */
export const trunkLoraSchema = z.object({
  rank: z.number().int().positive(),
  /** The pair's part counts alpha/rank. */
  alpha: z.number().positive(),
  /** Paths of the affine layers that have a pair; `*` stands for one part of a path. */
  targets: z.array(z.string()).readonly(),
});
export type TrunkLora = Readonly<z.infer<typeof trunkLoraSchema>>;

/**
 * The pairs of mode `lora`: every affine layer of the language model, and those of the decoder whose
 * input is a row's own. What the decoder has of the diffusion step is one for all rows of a batch,
 * and its convolutions are no affine layers: neither has a pair.
 */
export const TRUNK_LORA: TrunkLora = {
  rank: 8,
  alpha: 16,
  targets: [
    'trunk.language.*.attention.q',
    'trunk.language.*.attention.k',
    'trunk.language.*.attention.v',
    'trunk.language.*.attention.out',
    'trunk.language.*.gate',
    'trunk.language.*.up',
    'trunk.language.*.down',
    'trunk.decoder.film.condition',
    'trunk.decoder.film.reasoning',
    'trunk.decoder.*.skip',
  ],
};

const PREFIX = 'lora';

/** The pairs of one fine-tune, without slots: `lora.….lora_A` [in, rank] and `lora.….lora_B` [rank, out]. */
export function trunkPairs(config: TrunkLora, trunk: readonly ParamSpec[]): ParamSpec[] {
  return trunk.flatMap(({ name, shape }) => {
    const path = name.replace(/\.weight$/, '');
    if (path === name || !targeted(config, path)) return [];
    const [out, width] = shape;
    if (out === undefined || width === undefined || shape.length !== 2) {
      throw new RangeError(`${path} is no affine layer`);
    }
    const pair = `${PREFIX}.${path}`;
    return [
      { name: `${pair}.lora_A`, shape: [width, config.rank], init: fanIn(width), decay: true },
      { name: `${pair}.lora_B`, shape: [config.rank, out], init: zeros, decay: true },
    ];
  });
}

/** y + alpha/rank·(x·A)·B at the targeted layers, with the pairs of each row's own slot. */
export function adaptTrunk(config: TrunkLora, bank: Bank): Adapt {
  return (root, path, x, y) => {
    if (!targeted(config, path)) return y;
    const own = root.scope(PREFIX).scope(path);
    const part = bankPair(own, bank, x, config.rank, lastDim(y));
    return add(y, mul(part, config.alpha / config.rank));
  };
}

/**
 * A trunk with pairs added to it: W + alpha/rank·(A·B)ᵀ at the targeted layers, every other weight as it is.
 * @param pairs as `trunkPairs` lists them
 * @throws RangeError when a targeted layer has no pair, or one of another size.
 */
export function mergePairs(
  config: TrunkLora,
  trunk: ReadonlyMap<string, Float32Array>,
  pairs: ReadonlyMap<string, Float32Array>,
): Map<string, Float32Array> {
  const { rank, alpha, targets } = config;
  const merged = new Map(trunk);
  for (const [name, weight] of trunk) {
    const path = name.replace(/\.weight$/, '');
    if (path === name || !targeted(config, path)) continue;
    const pair = (half: string): Float32Array => {
      const data = pairs.get(`${PREFIX}.${path}.${half}`);
      if (data === undefined) throw new RangeError(`${path} has no ${half}`);
      return data;
    };
    const [a, b] = [pair('lora_A'), pair('lora_B')];
    const rows = { a: turned(a, a.length / rank, rank), b: turned(b, rank, b.length / rank) };
    const plain = { rank, scaling: alpha / rank, targets };
    merged.set(name, mergeLora(plain, weight, rows.a, rows.b));
  }
  return merged;
}

/** [rows, columns] → [columns, rows]. */
function turned(data: Float32Array, rows: number, columns: number): Float32Array {
  return data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)] as number);
}

function targeted({ targets }: TrunkLora, path: string): boolean {
  const parts = path.split('.');
  return targets.some((target) => {
    const wanted = target.split('.');
    return (
      wanted.length === parts.length && wanted.every((part, i) => part === '*' || part === parts[i])
    );
  });
}

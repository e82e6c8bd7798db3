import { encodeInstruction } from '@armature/policy/data';
import { featureModel, nano, summaryWidth } from '@armature/policy/divla';
import type { Engine, Value } from '@armature/policy/engine';
import { pictureSize } from '../camera.ts';
import type { Renderer } from '../render.ts';
import { createRng } from '../rng.ts';
import { pretrainSample } from '../scenes.ts';
import { signature, type PretrainModel } from './model.ts';

const ROWS = 32;
const BATCHES = 8;
const STREAM = 9;

/**
 * Root mean square distance, in pixels of the picture from above, between the first soft-argmax
 * point and the named object: scenes and arms that training never saw.
 */
export async function groundingError(o: {
  engine: Engine;
  model: PretrainModel;
  weights: (name: string) => Float32Array;
  renderer: Renderer;
  seed: number;
}): Promise<number> {
  const { engine, model, renderer } = o;
  const values: Record<string, Value> = {};
  for (const spec of model.trunk) {
    values[spec.name] = { dtype: 'float32', shape: spec.shape, data: o.weights(spec.name) };
  }
  const used = model.trunk.filter(({ name }) => !name.startsWith('trunk.decoder.'));
  await engine.put('heldout', values);
  await engine.load('heldout', featureModel(nano, signature, ROWS));
  const rng = createRng(o.seed, STREAM);
  const pixels = pictureSize * pictureSize * 3;
  const { textTokens, reasoningTokens } = nano.language;
  let squared = 0;
  for (let b = 0; b < BATCHES; b++) {
    const images = new Uint8Array(ROWS * 2 * pixels);
    const tokens = new BigInt64Array(ROWS * textTokens);
    const mask = new Float32Array(ROWS * textTokens);
    const present = new Float32Array(ROWS * 2);
    const targets: (readonly [number, number])[] = [];
    for (let r = 0; r < ROWS; r++) {
      const sample = pretrainSample(rng, renderer);
      const asked = rng.pick(sample.instructions);
      images.set(sample.image, r * 2 * pixels);
      present[r * 2] = 1;
      const text = encodeInstruction(nano, asked.text);
      tokens.set(text.tokens, r * textTokens);
      mask.set(text.mask, r * textTokens);
      targets.push(asked.targetXY);
    }
    const out = await engine.run(
      'heldout',
      {
        images: {
          dtype: 'uint8',
          shape: [ROWS, 2, pictureSize, pictureSize, 3],
          data: images,
        },
        tokens: { dtype: 'int64', shape: [ROWS, textTokens], data: tokens },
        token_mask: { dtype: 'float32', shape: [ROWS, textTokens], data: mask },
        present: { dtype: 'float32', shape: [ROWS, 2], data: present },
        said: {
          dtype: 'int64',
          shape: [ROWS, reasoningTokens],
          data: new BigInt64Array(ROWS * reasoningTokens),
        },
        said_mask: {
          dtype: 'float32',
          shape: [ROWS, reasoningTokens],
          data: new Float32Array(ROWS * reasoningTokens),
        },
      },
      {
        outputs: ['summary'],
        resident: Object.fromEntries(used.map(({ name }) => [name, `heldout/${name}`])),
      },
    );
    const summary = out['summary']?.data;
    if (!(summary instanceof Float32Array)) throw new RangeError('the trunk gave no summary');
    targets.forEach(([u, v], r) => {
      const at = r * 2 * summaryWidth(nano);
      const x = ((summary[at] as number) + 1) / 2 - u;
      const y = ((summary[at + 1] as number) + 1) / 2 - v;
      squared += (x * x + y * y) * pictureSize * pictureSize;
    });
  }
  await engine.unload('heldout');
  await engine.drop('heldout');
  return Math.sqrt(squared / (ROWS * BATCHES));
}

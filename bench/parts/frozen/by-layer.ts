import type { BaseModel } from '@armature/policy/checkpoint';
import { quantisedProducts, quantiseTrunk } from '@armature/policy/divla';
import type { Engine } from '@armature/policy/engine';
import { Graph, linear, reduceSum, type Tensor, toOnnx } from '@armature/policy/tensor';
import type { Figure } from '../../result.ts';
import { quantile, timed } from '../../timing.ts';

/** Layers of each kind with the rows that one robot's two views, its prompt, or one token give them. */
const LAYERS = [
  ['trunk.stem.first', 512],
  ['trunk.stem.block0.mix', 512],
  ['trunk.vision.patch', 64],
  ['trunk.vision.layer0.attention.q', 64],
  ['trunk.language.layer0.attention.q', 114],
  ['trunk.language.layer0.gate', 114],
  ['trunk.language.layer0.attention.q', 1],
  ['trunk.language.layer0.gate', 1],
  ['trunk.language.layer0.down', 1],
  ['trunk.language.embed', 1],
] as const;
const FORMS = ['float32', 'int8', 'int4'] as const;
/** The layer so often over the same rows, so that a call's own cost does not count. */
const COPIES = 32;
const [TURNS, CALLS] = [8, 6];

/** Each kind of layer in each form, by turns: microseconds in float32, and how many times as fast in fewer bits. */
export async function byLayer(engine: Engine, base: BaseModel, quick: boolean): Promise<Figure[]> {
  const figures: Figure[] = [];
  const { trunkSpecs, trunk } = base;
  const quantised = {
    int8: quantiseTrunk(trunkSpecs, trunk, 'int8'),
    int4: quantiseTrunk(trunkSpecs, trunk, 'int4'),
  };
  for (const [path, rows] of LAYERS) {
    const name = path === 'trunk.language.embed' ? path : `${path}.weight`;
    const [out, width] = base.trunkSpecs.find((spec) => spec.name === name)?.shape ?? [];
    const values = base.trunk.get(name);
    if (out === undefined || width === undefined || values === undefined) {
      throw new RangeError(`the base has no ${name}`);
    }
    for (const form of FORMS) {
      const graph = new Graph(form, undefined, { inference: true });
      const product =
        form === 'float32'
          ? (x: Tensor) => linear(x, graph.constant(values, [out, width]))
          : quantisedProducts(graph, quantised[form])(path);
      if (product === undefined) throw new RangeError(`${path} is not quantised`);
      for (let copy = 0; copy < COPIES; copy++) {
        const x = graph.input(`x${copy}`, 'float32', [rows, width]);
        graph.output(`y${copy}`, reduceSum(product(x)));
      }
      await engine.load(form, toOnnx(graph));
    }
    const data = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i));
    const x = { dtype: 'float32', shape: [rows, width], data } as const;
    await engine.put('rows', { x });
    const resident = Object.fromEntries(
      Array.from({ length: COPIES }, (_, copy) => [`x${copy}`, 'rows/x']),
    );
    const times = new Map(FORMS.map((form) => [form, [] as number[]]));
    for (let turn = 0; turn < (quick ? 1 : TURNS); turn++) {
      for (const [form, taken] of times) {
        taken.push(...(await timed(CALLS, 1, () => engine.run(form, {}, { resident }))));
      }
    }
    const median = (form: (typeof FORMS)[number]): number => quantile(times.get(form) ?? [], 0.5);
    const label = `${rows} rows × ${path.replace('trunk.', '')} [${width}, ${out}]`;
    const plain = median('float32');
    figures.push(
      { name: `${label}, float32`, value: (1000 * plain) / COPIES, unit: 'µs' },
      { name: `${label}, int8`, value: plain / median('int8'), unit: 'times as fast' },
      { name: `${label}, int4`, value: plain / median('int4'), unit: 'times as fast' },
    );
    for (const form of FORMS) await engine.unload(form);
    await engine.drop('rows');
  }
  return figures;
}

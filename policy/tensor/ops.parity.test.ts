import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readFixtureJson } from '../../test/support/fixtures.ts';
import { holdClose, readReference } from '../../test/support/parity.ts';
import type { SafeTensor } from '../checkpoint/index.ts';
import { Engine } from '../engine/index.ts';
import type { Value, Values } from '../engine/index.ts';
import { Graph, gradients, toOnnx } from './index.ts';
import type { Tensor } from './index.ts';
import { applyCase, parseIndex } from './testing/parity-ops.ts';
import type { OpCase } from './testing/parity-ops.ts';

/** Every case of the reference operations, forward and backward, held to its own tolerance. */

const cases = parseIndex(await readFixtureJson('ops', 'index.json'));
let engine: Engine;

beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'parity' });
});

afterAll(async () => {
  await engine.close();
});

describe('reference operations', () => {
  it('has every case of the index', () => {
    expect(cases.length).toBeGreaterThan(0);
    expect(new Set(cases.map((c) => c.name)).size).toBe(cases.length);
  });
  it.each(cases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    const { tensors, at } = await readReference('ops', c.file);
    const { model, feeds } = build(c, tensors);
    await engine.load(c.name, model);
    const results = await engine.run(c.name, feeds);
    await engine.unload(c.name);
    for (const [quantity, tolerance] of Object.entries(c.tolerance)) {
      holdClose(
        {
          fixture: `ops/${c.op}`,
          quantity: quantity.startsWith('grad.') ? 'gradients' : 'outputs',
          detail: `${c.name} ${quantity}`,
        },
        results[quantity],
        at(quantity),
        tolerance,
      );
    }
  });
});

function build(
  c: OpCase,
  tensors: ReadonlyMap<string, SafeTensor>,
): { model: Uint8Array; feeds: Values } {
  const graph = new Graph(c.name);
  const feeds: Record<string, Value> = {};
  const input = (name: string): Tensor => {
    const value = valueOf(tensors.get(name), name);
    feeds[name] = value;
    return graph.input(name, value.dtype, value.shape);
  };
  const inputs = Object.fromEntries(Object.keys(c.inputs).map((n) => [n, input(n)]));
  const outputs = applyCase(c, inputs);
  const names = Object.keys(c.outputs);
  expect(outputs.length).toBe(names.length);
  names.forEach((n, i) => {
    const y = outputs[i];
    expect(y?.shape).toEqual(c.outputs[n]);
    if (y !== undefined) graph.output(n, y);
  });
  const upstream = names.map((n) => input(`d${n}`));
  const wrt = c.differentiable.map((n) => {
    const t = inputs[n];
    if (t === undefined) throw new Error(`${c.name} has no input ${n}`);
    return t;
  });
  gradients({ of: outputs, upstream }, wrt).forEach((g, i) => {
    graph.output(`grad.${c.differentiable[i] ?? ''}`, g);
  });
  return { model: toOnnx(graph), feeds };
}

function valueOf(tensor: SafeTensor | undefined, name: string): Value {
  if (tensor?.dtype === 'F32') return { dtype: 'float32', shape: tensor.shape, data: tensor.data };
  if (tensor?.dtype === 'I64') return { dtype: 'int64', shape: tensor.shape, data: tensor.data };
  throw new Error(`no float32 or int64 tensor ${name}`);
}

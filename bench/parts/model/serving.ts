import type { BaseModel } from '@armature/policy/checkpoint';
import { special } from '@armature/policy/data';
import {
  type DivlaConfig,
  type QuantisedLayers,
  serveGraph,
  type ServeGraph,
  type Signature,
} from '@armature/policy/divla';
import type { Engine, Value, Values } from '@armature/policy/engine';
import { elements } from '@armature/policy/nn';
import { toOnnx } from '@armature/policy/tensor';
import { syntheticInputs } from './synthetic.ts';

const SLOTS = 32;

/** A serving graph for one row in an engine, with inputs to run it on. */
export interface Serving {
  readonly feeds: Values;
  readonly call: () => Promise<Values>;
  readonly close: () => Promise<void>;
}

/** Loads a serving graph as a worker has it: the base's trunk packed, its head in a bank. */
export async function loadServing(o: {
  engine: Engine;
  id: string;
  kind: ServeGraph;
  base: BaseModel;
  config?: DivlaConfig;
  signature: Signature;
  /** Frozen layers in few bits; float32 without. */
  quantised?: QuantisedLayers;
  /** Token that ends a reasoning; the tokenizer's own unless told. */
  end?: number;
  actions: number;
  steps: number;
  weightOf: (name: string) => Float32Array;
}): Promise<Serving> {
  const { engine, id, base, signature, weightOf } = o;
  const config = o.config ?? base.config;
  const graph = serveGraph(o.kind, {
    config,
    signature,
    rows: 1,
    slots: SLOTS,
    special: { ...special, end: o.end ?? special.end },
    trunk: base.trunk,
    ...(o.quantised === undefined ? {} : { quantised: o.quantised }),
  });
  await engine.load(id, toOnnx(graph));
  const bank = base.headSpecs.map(({ name, shape }): readonly [string, Value] => {
    const whole = [SLOTS, ...shape];
    const data = new Float32Array(elements(whole));
    data.set(weightOf(name));
    return [name, { dtype: 'float32', shape: whole, data }];
  });
  await engine.put(id, Object.fromEntries(bank));
  const inputs = new Set(graph.inputs.map((input) => input.name));
  const resident = Object.fromEntries(
    base.headSpecs
      .filter(({ name }) => inputs.has(name))
      .map(({ name }) => [name, `${id}/${name}`]),
  );
  const feeds = syntheticInputs(graph, config, { actions: o.actions, steps: o.steps });
  return {
    feeds,
    call: () => engine.run(id, feeds, { resident }),
    close: async () => {
      await engine.unload(id);
      await engine.drop(id);
    },
  };
}

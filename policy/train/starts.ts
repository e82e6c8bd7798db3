import { readWeights } from '../checkpoint/index.ts';
import { mergePairs, trunkPairs } from '../lora/trunk.ts';
import { flatLayout, type FlatLayout } from '../nn/flat.ts';
import { initialValues, type ParamSpec } from '../nn/params.ts';
import type { FinetuneInput, FinishedPolicy } from './finetune-input.ts';
import { isTrainable } from './options.ts';
import { softened } from './softened.ts';

/** Trainable parameters as a flat layout, heads side by side, and where each parameter starts. */
export function parameters(inputs: readonly FinetuneInput[]): {
  layout: FlatLayout;
  start: (name: string) => Float32Array;
} {
  const [first] = inputs;
  if (first === undefined) throw new RangeError('there is no embodiment');
  const { base, options } = first;
  const pairs = options.lora === undefined ? [] : trunkPairs(options.lora, base.trunkSpecs);
  const moves = (spec: ParamSpec): boolean => isTrainable(options.mode, spec);
  const inSlots = (slots: number) => (spec: ParamSpec) => ({
    ...spec,
    shape: [slots, ...spec.shape],
  });
  const layout = flatLayout([
    ...base.trunkSpecs.filter(moves),
    ...pairs.filter(moves).map(inSlots(1)),
    ...base.headSpecs.filter(moves).map(inSlots(inputs.length)),
  ]);
  const starts = inputs.map((input) => startOf(input, pairs));
  const start = (name: string): Float32Array => {
    const [own, ...others] = name.startsWith('head.') ? starts : starts.slice(0, 1);
    if (own === undefined) throw new RangeError('there is no embodiment');
    return others.length === 0
      ? own(name)
      : Float32Array.from(starts.flatMap((of) => Array.from(of(name))));
  };
  return { layout, start };
}

/** Where the parameters of one embodiment start, those of the trunk among them. */
function startOf(
  input: FinetuneInput,
  pairs: readonly ParamSpec[],
): (name: string) => Float32Array {
  const { base, options, from } = input;
  const specs = new Map(
    [...base.trunkSpecs, ...pairs, ...base.headSpecs].map((spec) => [spec.name, spec] as const),
  );
  const fresh = options.seed + 1;
  const earlier = from === undefined ? new Map<string, Float32Array>() : weightsOf(input, from);
  return (name) => {
    const continued = earlier.get(name);
    if (continued !== undefined) return continued;
    const known = base.trunk.get(name);
    const spec = specs.get(name);
    if (spec === undefined) throw new RangeError(`the model has no parameter ${name}`);
    if (known === undefined) return initialValues(spec, fresh);
    // A head to go on from was fitted to this very trunk.
    const gives = from === undefined && isTrainable(options.mode, spec);
    return gives ? softened(spec, known, options.baseShare, fresh) : known;
  };
}

/** A version's own weights: its head, and its trunk or its pairs where it has them. */
function weightsOf(
  { base, options }: FinetuneInput,
  { manifest, files }: FinishedPolicy,
): Map<string, Float32Array> {
  const read = (name: string, specs: readonly ParamSpec[]): Map<string, Float32Array> => {
    const bytes = files[name];
    if (bytes === undefined) throw new RangeError(`the version to go on from lacks ${name}`);
    return readWeights(specs, bytes).weights;
  };
  const beside = (): Map<string, Float32Array> => {
    const { mode, lora } = manifest;
    if (mode === 'head') return new Map();
    if (mode !== 'lora') return read('trunk.safetensors', base.trunkSpecs);
    if (lora === undefined) throw new RangeError('the version to go on from has no pairs');
    const pairs = read('lora.safetensors', trunkPairs(lora, base.trunkSpecs));
    // A trunk that moves itself takes the pairs in: the same outputs, of which all may change.
    return options.lora === undefined ? mergePairs(lora, base.trunk, pairs) : pairs;
  };
  return new Map([...beside(), ...read('head.safetensors', base.headSpecs)]);
}

/** What a slot has of a bank. */
export function slotOf(bank: Float32Array, slot: number, slots: number): Float32Array {
  const size = bank.length / slots;
  return slots === 1 ? bank : bank.slice(slot * size, (slot + 1) * size);
}

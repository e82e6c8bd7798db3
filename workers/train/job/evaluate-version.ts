import type { EmbodimentSpec, Evaluation } from '@armature/sdk/contract';
import { evaluate } from '../evaluation/index.ts';
import type { FinetuneInput } from './input.ts';
import type { Demonstration, TrainedVersion, Workshop } from './workshop.ts';

/** Start frames asked for in one call: enough to fill the largest batch. */
const FRAMES_PER_CALL = 32;

/** Held-out evaluation of a trained version, as it will be served. */
export async function evaluateVersion(o: {
  readonly input: FinetuneInput;
  readonly workshop: Workshop;
  readonly version: TrainedVersion;
  readonly training: readonly Demonstration[];
  readonly heldout: readonly Demonstration[];
  readonly onProgress: (share: number) => void;
  readonly signal: AbortSignal;
}): Promise<Evaluation> {
  const { spec, options } = o.input;
  const { stats, sampler } = o.version.manifest;
  const predictor = await o.workshop.predictor({ version: o.version, episodes: o.heldout });
  try {
    return await evaluate({
      names: spec.action.map(({ name }) => name),
      shape: { horizon: spec.horizon, actions: spec.action.length, states: spec.state.length },
      reference: referenceName(spec),
      training: o.training,
      heldout: o.heldout,
      state: stats.state,
      action: stats.action,
      stateOf: stateOf(spec),
      predict: predictor.predict,
      served: sampler,
      usesLastCommand: references(spec).includes('last_command'),
      blind: options.images === 'blank',
      seed: options.seed,
      framesPerCall: FRAMES_PER_CALL,
      onProgress: o.onProgress,
      signal: o.signal,
    });
  } finally {
    await predictor.close();
  }
}

/** For each action the state dimension that measures the same joint in the same unit, or null. */
export function stateOf(spec: EmbodimentSpec): (number | null)[] {
  return spec.action.map(({ name, unit }) => {
    const index = spec.state.findIndex((joint) => joint.name === name && joint.unit === unit);
    return index < 0 ? null : index;
  });
}

/** `state`, or `arm: state, hand: absolute` where groups differ. */
export function referenceName(spec: EmbodimentSpec): string {
  const used = references(spec);
  const [first] = used;
  if (first !== undefined && used.every((reference) => reference === first)) return first;
  return [...new Set(spec.action.map(({ group }) => group))]
    .map((group) => `${group}: ${spec.references[group] ?? 'unknown'}`)
    .join(', ');
}

function references(spec: EmbodimentSpec): string[] {
  return spec.action.flatMap(({ group }) => spec.references[group] ?? []);
}

import { ArmatureError, type WireChunk } from '../../contract/index.ts';
import type { ActionRow, EmbodimentShape } from './embodiment.ts';
import { actionRows } from './observation.ts';

/** One action chunk, checked. */
export interface Chunk<S extends EmbodimentShape> {
  readonly chunkId: string;
  /** `seq` of the observation it answers. */
  readonly seq: number;
  readonly epoch: number;
  /** f32 [H·A]: H steps of A values, absolute, in the spec's order and units. */
  readonly actions: Float32Array;
  /** The steps by joint name. */
  readonly rows: readonly ActionRow<S>[];
  /** What drove it, and how old that was when the chunk was computed. */
  readonly reasoning: WireChunk['reasoning'];
  readonly policyVersion: string;
  readonly statsHash: string;
  /** How many values the limits of the embodiment changed. */
  readonly clamped: number;
  /** Times at the worker, ms. */
  readonly timings: WireChunk['timings'];
  /** From sending the observation to the arrival of the chunk, ms. */
  readonly latencyMs: number;
  /** Capture time of the observation, ms since the Unix epoch. */
  readonly capturedAt: number;
}

/**
 * Checks a chunk against the embodiment.
 * @throws ArmatureError `invalid_action` for another shape or a value that is not finite.
 */
export function toChunk<S extends EmbodimentShape>(
  spec: S,
  wire: WireChunk,
  when: { readonly latencyMs: number; readonly capturedAt: number },
): Chunk<S> {
  const [horizon, width, ...more] = wire.actions.shape;
  if (horizon !== spec.horizon || width !== spec.action.length || more.length > 0) {
    throw refused(
      `actions are [${wire.actions.shape.join(', ')}], expected [${spec.horizon}, ${spec.action.length}]`,
      'actions',
    );
  }
  const actions = wire.actions.toFloat32();
  const bad = actions.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw refused(`actions hold ${actions[bad] ?? 'nothing'} at ${bad}`, `actions[${bad}]`);
  }
  return {
    chunkId: wire.chunk_id,
    seq: wire.seq,
    epoch: wire.epoch,
    actions,
    rows: actionRows(spec, actions),
    reasoning: wire.reasoning,
    policyVersion: wire.policy_version,
    statsHash: wire.stats_hash,
    clamped: wire.clamped,
    timings: wire.timings,
    ...when,
  };
}

function refused(message: string, field: string): ArmatureError {
  return new ArmatureError('invalid_action', message, {
    field,
    fix: 'Hold, and ask again; report the policy version if it happens again.',
  });
}

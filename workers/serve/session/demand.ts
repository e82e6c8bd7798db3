import type { EmbodimentSpec, SessionClaims } from '@armature/sdk/contract';
import type { RowKind } from '../policies/index.ts';
import type { Demand } from '../scheduler/index.ts';

/** How long the actions of one chunk last, ms. */
export function chunkMs(spec: Pick<EmbodimentSpec, 'horizon' | 'control_hz'>): number {
  return (1000 * spec.horizon) / spec.control_hz;
}

/** Rows a second that a robot needs at the least: a chunk before the one before is used up. */
export function demandOf({ embodiment, reasoning }: SessionClaims): Demand {
  const chunks = 1000 / chunkMs(embodiment.spec);
  const kinds: Partial<Record<RowKind, number>> =
    reasoning.when === 'every_chunk'
      ? { reason_and_act: chunks }
      : reasoning.when === 'interval'
        ? { act: chunks, reason: Math.min(chunks, 1000 / reasoning.ms) }
        : { act: chunks };
  return kinds;
}

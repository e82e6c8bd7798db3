import type { ClaimedJob } from '@armature/db';
import type { Logger } from 'pino';
import type { Checkpoints } from './checkpoints.ts';
import type { FinetuneInput } from './input.ts';
import type { Lease } from '../../jobs/lease.ts';
import type { Ledger } from './ledger.ts';
import type { JobServices } from './services.ts';

/** One running attempt of a fine-tune. */
export interface Attempt {
  readonly job: ClaimedJob;
  readonly input: FinetuneInput;
  readonly services: JobServices;
  readonly ledger: Ledger;
  readonly lease: Lease;
  readonly checkpoints: Checkpoints;
  readonly log: Logger;
  /** Told where a version's objects go before they are put, so that they can be taken away again. */
  readonly onPlacing: (prefix: string) => void;
}

/** Shares of the whole job at which its parts begin. */
export const BEGINS = {
  decoding: 0,
  features: 0.2,
  steps: 0.25,
  evaluating: 0.8,
  packaging: 0.97,
} as const;

/** Share of the whole job when `share` of the part between two of its marks is done. */
export function within(from: keyof typeof BEGINS, to: keyof typeof BEGINS, share: number): number {
  return BEGINS[from] + (BEGINS[to] - BEGINS[from]) * share;
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

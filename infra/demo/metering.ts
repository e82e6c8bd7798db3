import { setTimeout as wait } from 'node:timers/promises';
import { ArmatureError } from '@armature/sdk/contract';
import type { Stage } from './jobs.ts';

/** What a robot counted itself. */
export interface Received {
  readonly chunks: number;
  readonly actions: number;
}

/** All of them together. */
export function total(counts: readonly Received[]): Received {
  return {
    chunks: counts.reduce((sum, count) => sum + count.chunks, 0),
    actions: counts.reduce((sum, count) => sum + count.actions, 0),
  };
}

const POLL_MS = 250;
/** A worker hands its records over within seconds. */
const WITHIN_MS = 20_000;

/**
 * The usage of one session as the API answers it, once it says what the robot has counted.
 * @throws ArmatureError `internal` when it does not come to say that.
 */
export async function meteredUsage(
  { client, signal }: Stage,
  sessionId: string,
  received: Received,
): Promise<Received> {
  const until = performance.now() + WITHIN_MS;
  for (;;) {
    const { totals } = await client.usage.get({ session_id: sessionId }, { signal });
    const metered = { chunks: totals.chunks, actions: totals.actions };
    if (metered.chunks === received.chunks && metered.actions === received.actions) return metered;
    if (performance.now() > until) {
      throw new ArmatureError(
        'internal',
        `${sessionId}: metered ${metered.actions} actions in ${metered.chunks} chunks, but the robot received ${received.actions} in ${received.chunks}`,
      );
    }
    await wait(POLL_MS, undefined, { signal });
  }
}

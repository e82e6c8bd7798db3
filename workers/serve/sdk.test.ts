import type { SessionClaims, SessionGrant } from '@armature/sdk/contract';
import { connectRobot } from '@armature/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { armSpec, jpegOf } from './testing/robots.ts';
import { startWorker, type TestWorker } from './testing/worker.ts';

let worker: TestWorker;
let jpeg: Uint8Array;
beforeAll(async () => {
  worker = await startWorker();
  jpeg = await jpegOf();
});
afterAll(() => worker.stop());

async function grant(claims: SessionClaims): Promise<SessionGrant> {
  const now = new Date().toISOString();
  return {
    session: {
      id: claims.sub,
      robot: claims.robot,
      embodiment_id: claims.embodiment.id,
      policy_version_id: claims.policy.version_id,
      epoch: claims.epoch,
      created_at: now,
      ended_at: null,
    },
    url: `ws://127.0.0.1:${worker.port}/v1/robot`,
    token: await worker.issuer.sign(claims),
    token_expires_at: new Date(Date.now() + 600_000).toISOString(),
    embodiment: claims.embodiment.spec,
  };
}

describe('the SDK’s robot client on a worker', () => {
  const seen = () => ({
    images: { front: { jpeg } },
    state: Float32Array.of(0.2, 0.1),
    instruction: 'lift the cup',
  });

  it('acts, reports what it executed, runs its control loop, and is metered chunk for chunk', async () => {
    const robot = await connectRobot({
      embodiment: armSpec(),
      grant: await grant(worker.claims({ sub: 'ses_sdk' })),
    });
    const first = await robot.act(seen());
    expect(first.rows).toHaveLength(8);
    robot.report(first, 3);
    await robot.act(seen());
    const command = worker.runtime.runs.at(-1)?.rows[0]?.lastCommand;
    expect(command).toEqual(first.actions.slice(4, 6));

    const stats = await robot.run({ observe: seen, execute: () => {}, ticks: 40 });
    expect(stats.chunks).toBeGreaterThan(3);
    expect(stats.errors).toBe(0);

    await expect(robot.act({ ...seen(), images: {} })).rejects.toMatchObject({
      code: 'missing_camera',
    });
    await robot.close();
    await worker.ledger.flush(5000);
    const usage = [...worker.sink.entries.values()].filter((entry) => entry.kind === 'usage');
    expect(usage).toHaveLength(robot.stats.chunks);
  });
});

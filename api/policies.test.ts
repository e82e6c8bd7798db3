import { eq, newId, policyVersions, withTenant } from '@armature/db';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../test/support/api.ts';
import { armSpec } from '../test/support/robots.ts';
import { addPolicyVersion, addServeWorker } from '../test/support/rows.ts';
import { versionFor } from './services/canary.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => api.stop());

async function world() {
  const { id: tenant, key } = await api.tenant();
  const { id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec });
  const [first, second] = [
    await addPolicyVersion(api.db.worker, tenant, embodiment),
    await addPolicyVersion(api.db.worker, tenant, embodiment),
  ];
  await addServeWorker(api.db.worker);
  const session = async (version?: string) =>
    api.call('sessions.create', key, {
      robot: 'r',
      embodiment_id: embodiment,
      ...(version === undefined ? {} : { policy_version_id: version }),
    });
  return { tenant, key, embodiment, first, second, session };
}

const conflict = { status: 409, problem: { code: 'conflict', field: 'id' } };

describe('a canary', () => {
  it('gets its share of new sessions until it is deployed or ended', async () => {
    const { key, embodiment, first, second, session } = await world();
    expect(await api.call('policies.canary', key, { id: second, share: 0.5 })).toMatchObject(
      conflict,
    );
    await api.must('policies.deploy', key, { id: first });
    expect(await api.call('policies.canary', key, { id: first, share: 0.5 })).toMatchObject(
      conflict,
    );
    expect(await api.must('policies.canary', key, { id: second, share: 0.5 })).toMatchObject({
      active_policy_version_id: first,
      canary: { policy_version_id: second, share: 0.5 },
    });
    const versions = new Set<string | undefined>();
    // A version that none of 64 sessions gets has a chance of 2⁻⁶⁴.
    for (let i = 0; i < 64; i += 1) versions.add((await session()).ok?.session.policy_version_id);
    expect(versions).toEqual(new Set([first, second]));
    expect((await api.must('policies.canary', key, { id: second, share: 0 })).canary).toBeNull();
    await api.must('policies.canary', key, { id: second, share: 0.9 });
    await api.must('policies.deploy', key, { id: second });
    expect(await api.must('embodiments.get', key, { id: embodiment })).toMatchObject({
      active_policy_version_id: second,
      canary: null,
    });
    const audit = await api.must('audit.list', key, { subject: second });
    expect(audit.items.map(({ verb, detail }) => [verb, detail['share']]).reverse()).toEqual([
      ['policies.canary', 0.5],
      ['policies.canary', 0],
      ['policies.canary', 0.9],
      ['policies.deploy', undefined],
    ]);
  });

  it('is drawn by the session’s id, as often as its share says', () => {
    const row = { activePolicyVersionId: 'a', canaryPolicyVersionId: 'c', canaryShare: 0.2 };
    const ids = Array.from({ length: 20_000 }, () => newId('ses'));
    const drawn = ids.filter((id) => versionFor(row, id) === 'c');
    // Six standard deviations around the mean.
    expect(Math.abs(drawn.length - 4_000)).toBeLessThan(6 * Math.sqrt(20_000 * 0.2 * 0.8));
    expect(drawn.every((id) => versionFor(row, id) === 'c')).toBe(true);
    const none = { ...row, canaryPolicyVersionId: null, canaryShare: null };
    expect(ids.every((id) => versionFor(none, id) === 'a')).toBe(true);
  });
});

describe('a version', () => {
  it('from before it was recorded says so of its data, code and scores', async () => {
    const { key, first } = await world();
    expect(await api.must('policies.get', key, { id: first })).toMatchObject({
      data: null,
      code: null,
      scores: {
        heldout: { score: null, reason: 'made before scores were recorded' },
        simulated: { score: null, reason: 'no score of a simulator was recorded' },
      },
    });
  });

  it('tells what it was made from and by, and what it scored', async () => {
    const { tenant, key, first } = await world();
    const digest = 'a'.repeat(64);
    const data = [{ dataset_id: 'ds_1', digest, episodes: 3, frames: 60 }];
    const code = { version: '1.2.3', build: 'b' };
    const pair = { mse: 0.5, l1: 0.25 };
    const heldout = {
      data: { digest, episodes: 1, frames: 9 },
      chunks: 9,
      served: pair,
      mean8: pair,
      hold: pair,
    };
    // The application writes no more of it than the score of a simulator.
    await expect(
      withTenant(api.db.app, tenant, (tx) =>
        tx.update(policyVersions).set({ data, code }).where(eq(policyVersions.id, first)),
      ),
    ).rejects.toThrow();
    const admin = postgres(api.db.adminUrl, { max: 1 });
    await admin`update policy_versions set data = ${admin.json(data)}, code = ${admin.json(code)}
      where id = ${first}`;
    const none = { score: null, reason: 'no data set was held out' };
    const get = () => api.must('policies.get', key, { id: first });
    expect(await get()).toMatchObject({ data, code, scores: { heldout: none } });
    await admin`update policy_versions set heldout = ${admin.json(heldout)} where id = ${first}`;
    await admin.end();
    const score = { simulator: 'tabletop', episodes: 100, successes: 100 };
    expect(
      await api.call('policies.score', key, { id: first, ...score, successes: 101 }),
    ).toMatchObject({ status: 400, problem: { code: 'invalid_request', field: 'successes' } });
    await api.must('policies.score', key, { id: first, ...score });
    const scored = await api.must('policies.score', key, { id: first, ...score, successes: 97 });
    expect(scored.scores).toEqual({
      heldout: { score: heldout, reason: null },
      simulated: { score: { ...score, successes: 97 }, reason: null },
    });
    expect(await get()).toEqual(scored);
    expect((await api.must('policies.list', key, {})).items).toContainEqual(scored);
    const { items } = await api.must('audit.list', key, { subject: first });
    expect(items.map(({ verb, detail }) => [verb, detail['successes']])).toEqual([
      ['policies.score', 97],
      ['policies.score', 100],
    ]);
  });
});

describe('a retired version', () => {
  it('gets no new sessions, and is not one that is in use', async () => {
    const { key, first, second, session } = await world();
    await api.must('policies.deploy', key, { id: first });
    expect(await api.call('policies.retire', key, { id: first })).toMatchObject(conflict);
    await api.must('policies.canary', key, { id: second, share: 0.5 });
    expect(await api.call('policies.retire', key, { id: second })).toMatchObject(conflict);
    await api.must('policies.canary', key, { id: second, share: 0 });
    const open = (await session(second)).ok?.session.id ?? '';
    const { retired_at } = await api.must('policies.retire', key, { id: second });
    expect(retired_at).not.toBeNull();
    expect(await api.must('policies.retire', key, { id: second })).toMatchObject({ retired_at });
    expect(await session(second)).toMatchObject({
      status: 409,
      problem: { code: 'conflict', field: 'policy_version_id' },
    });
    expect(await api.call('policies.deploy', key, { id: second })).toMatchObject(conflict);
    expect(await api.call('policies.canary', key, { id: second, share: 0.1 })).toMatchObject(
      conflict,
    );
    // A robot that has it keeps it.
    await api.must('sessions.resume', key, { id: open });
  });
});

describe('what is done with a version at once', () => {
  const PAIRS = 24;

  it('deploys none that is retired', async () => {
    const { tenant, key, embodiment } = await world();
    for (let i = 0; i < PAIRS; i += 1) {
      const id = await addPolicyVersion(api.db.worker, tenant, embodiment);
      const answers = await Promise.all([
        api.call('policies.deploy', key, { id }),
        api.call('policies.retire', key, { id }),
      ]);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    }
  });

  it('makes none a canary that is deployed or retired', async () => {
    const { tenant, key, embodiment, first } = await world();
    for (let i = 0; i < PAIRS; i += 1) {
      await api.must('policies.deploy', key, { id: first });
      const id = await addPolicyVersion(api.db.worker, tenant, embodiment);
      const other = i % 2 === 0 ? 'policies.deploy' : 'policies.retire';
      await Promise.all([
        api.call('policies.canary', key, { id, share: 0.5 }),
        api.call(other, key, { id }),
      ]);
      const now = await api.must('embodiments.get', key, { id: embodiment });
      const canary = now.canary?.policy_version_id ?? null;
      expect(canary).not.toBe(now.active_policy_version_id);
      if (canary === null) continue;
      expect((await api.must('policies.get', key, { id: canary })).retired_at).toBeNull();
    }
  });
});

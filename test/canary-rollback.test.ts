import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DatabaseSink } from '../workers/serve/ledger/database-sink.ts';
import type { LedgerEntry } from '../workers/serve/ledger/entry.ts';
import { silent, usage } from '../workers/serve/ledger/testing/entries.ts';
import { startTestApi, type TestApi } from './support/api.ts';
import { armSpec, fileOf } from './support/robots.ts';
import { addPolicyVersion, addServeWorker, markReady } from './support/rows.ts';

let api: TestApi;
let admin: postgres.Sql;
beforeAll(async () => {
  api = await startTestApi();
  admin = postgres(api.db.adminUrl, { max: 1 });
  await addServeWorker(api.db.worker);
  // It reports no more, and is not to be missed however long the tests take.
  await admin`update serve_workers set heartbeat_at = now() + interval '1 hour'`;
});
afterAll(async () => {
  await admin.end();
  await api.stop();
});

interface World {
  readonly tenant: string;
  readonly key: string;
  readonly embodiment: string;
  readonly stable: string;
  readonly canary: string;
  readonly finetune: string;
  /** Of sessions with the version, by its id. */
  readonly sessions: Readonly<Record<string, string>>;
  /** Another session with a version. */
  readonly session: (version: string) => Promise<string>;
}
let world: World;
beforeEach(async () => {
  const { id: tenant, key } = await api.tenant();
  const { id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec });
  const { dataset } = await api.must('datasets.create', key, {
    name: 'd',
    embodiment_id: embodiment,
    files: [fileOf('a', Buffer.alloc(1))],
  });
  await markReady(api.db.worker, tenant, dataset.id);
  const made = await api.must('finetunes.create', key, {
    name: 'f',
    dataset_id: dataset.id,
    options: {},
  });
  const [stable, canary] = [
    await addPolicyVersion(api.db.worker, tenant, embodiment),
    await addPolicyVersion(api.db.worker, tenant, embodiment),
  ];
  await admin`update policy_versions set finetune_id = ${made.id} where id = ${canary}`;
  await api.must('policies.deploy', key, { id: stable });
  await api.must('policies.canary', key, { id: canary, share: 0.5 });
  const session = async (version: string) => {
    const input = { robot: 'r', embodiment_id: embodiment, policy_version_id: version };
    return (await api.must('sessions.create', key, input)).session.id;
  };
  const sessions = { [stable]: await session(stable), [canary]: await session(canary) };
  world = { tenant, key, embodiment, stable, canary, finetune: made.id, sessions, session };
});

let number = 0;
function entries(version: string, chunks: number, faults: number): LedgerEntry[] {
  const session = world.sessions[version] ?? '';
  const row = { tenant_id: world.tenant, session_id: session, policy_version_id: version };
  const next = () => `${session}:0:${(number += 1)}`;
  return [
    ...Array.from({ length: chunks }, () => usage(0, { ...row, id: next() })),
    ...Array.from({ length: faults }, (): LedgerEntry => ({
      ...row,
      kind: 'fault',
      id: next(),
      fault: 'not_finite',
      message: 'step 0 of elbow is NaN',
      at: new Date().toISOString(),
    })),
  ];
}

/** As if the minutes that were counted in, and the beginning of the canary, lay a minute further back. */
async function letAMinutePass(): Promise<void> {
  const minute = admin`interval '1 minute'`;
  await admin`update policy_windows set window_at = window_at - ${minute}
    where tenant_id = ${world.tenant}`;
  await admin`update policy_deviations set window_at = window_at - ${minute}
    where tenant_id = ${world.tenant}`;
  await admin`update embodiments set canary_since = date_trunc('minute', canary_since) - ${minute}
    where id = ${world.embodiment}`;
}
const sink = () => new DatabaseSink(api.db.worker, silent);
const canaryNow = async () =>
  (await api.must('embodiments.get', world.key, { id: world.embodiment })).canary;
const rollbacks = async () =>
  (await api.must('audit.list', world.key, { subject: world.canary })).items.filter(
    ({ verb }) => verb === 'policies.rollback',
  );

describe('a canary whose chunks fail more often than those of the deployed version', () => {
  it('is rolled back once its windows are over, on record and in the history of its fine-tune', async () => {
    const written = [...entries(world.stable, 200, 1), ...entries(world.canary, 30, 20)];
    // Twice, as after a connection that broke: everything counts once.
    expect(await sink().write(written)).toEqual([]);
    expect(await sink().write(written)).toEqual([]);
    const counted = await admin`
      select policy_version_id as version, sum(chunks)::int as chunks, sum(not_finite)::int as faults
      from policy_windows where tenant_id = ${world.tenant} group by 1 order by 2`;
    expect(counted.map((row) => ({ ...row }))).toEqual([
      { version: world.canary, chunks: 30, faults: 20 },
      { version: world.stable, chunks: 200, faults: 1 },
    ]);
    // The minute is not over.
    expect(await canaryNow()).toMatchObject({ policy_version_id: world.canary, share: 0.5 });
    await letAMinutePass();
    // Two workers see it at once.
    await Promise.all([1, 2].map(() => sink().write(entries(world.canary, 0, 1))));
    expect(await canaryNow()).toBeNull();
    const [line, ...more] = await rollbacks();
    expect(more).toEqual([]);
    expect(line).toMatchObject({
      actor: 'platform',
      subject_id: world.canary,
      detail: {
        embodiment_id: world.embodiment,
        stable: world.stable,
        faults: 20,
        attempts: 50,
        stable_faults: 1,
        stable_attempts: 201,
      },
    });
    const { items } = await api.must('finetunes.events', world.key, { id: world.finetune });
    expect(items.at(-1)).toMatchObject({
      kind: 'warning',
      message: `canary ${world.canary} was rolled back: 20 of 50 attempts failed, of the deployed version 1 of 201`,
    });
    const input = { robot: 'r', embodiment_id: world.embodiment };
    const versions = new Set<string>();
    for (let i = 0; i < 20; i += 1) {
      const { session } = await api.must('sessions.create', world.key, input);
      versions.add(session.policy_version_id);
    }
    expect(versions).toEqual(new Set([world.stable]));
  });

  it('has a new record when it is made a canary again', async () => {
    await sink().write([...entries(world.stable, 100, 0), ...entries(world.canary, 0, 30)]);
    await letAMinutePass();
    await sink().write(entries(world.canary, 0, 1));
    expect(await canaryNow()).toBeNull();
    await api.must('policies.canary', world.key, { id: world.canary, share: 0.2 });
    await sink().write(entries(world.canary, 0, 1));
    expect(await canaryNow()).toMatchObject({ share: 0.2 });
    const { since } = (
      await api.must('policies.canary', world.key, {
        id: world.canary,
        share: 0.3,
      })
    ).canary ?? { since: '' };
    expect(await canaryNow()).toMatchObject({ share: 0.3, since });
  });
});

describe('a canary whose robots stay farther from where they are to go', () => {
  /** Eight sessions of a version, of which the i-th deviates by `from` and i thousandths. */
  async function drive(version: string, from: number): Promise<LedgerEntry[]> {
    const row = { tenant_id: world.tenant, policy_version_id: version };
    const written: LedgerEntry[] = [];
    for (let i = 0; i < 8; i += 1) {
      const session_id = await world.session(version);
      for (let n = 0; n < 3; n += 1) {
        const deviation = from + i / 1000;
        written.push(usage(0, { ...row, session_id, id: `${session_id}:0:${n}`, deviation }));
      }
      // The first of a session goes on from none.
      written.push(usage(0, { ...row, session_id, id: `${session_id}:0:3` }));
    }
    return written;
  }
  const oneMore = (version: string): LedgerEntry =>
    usage(0, {
      tenant_id: world.tenant,
      session_id: world.sessions[version] ?? '',
      policy_version_id: version,
      id: `${world.sessions[version] ?? ''}:0:${(number += 1)}`,
      deviation: 0,
    });

  it('is rolled back though none of its chunks fails', async () => {
    const written = [...(await drive(world.stable, 0.01)), ...(await drive(world.canary, 0.05))];
    expect(await sink().write(written)).toEqual([]);
    expect(await sink().write(written)).toEqual([]);
    const [sums] = await admin`
      select sum(chunks)::int as chunks, count(distinct session_id)::int as sessions
      from policy_deviations where tenant_id = ${world.tenant}`;
    expect(sums).toEqual({ chunks: 48, sessions: 16 });
    // Nothing is said before the minute is over.
    await sink().write([oneMore(world.canary)]);
    expect(await canaryNow()).not.toBeNull();
    await letAMinutePass();
    await Promise.all([1, 2].map(() => sink().write([oneMore(world.canary)])));
    expect(await canaryNow()).toBeNull();
    const [line, ...more] = await rollbacks();
    expect(more).toEqual([]);
    expect(line?.detail).toMatchObject({ stable: world.stable, stable_sessions: 8 });
    const { items } = await api.must('finetunes.events', world.key, { id: world.finetune });
    expect(items.at(-1)?.message).toContain('of their joints');
  });

  it('stays where they do not', async () => {
    await sink().write([
      ...(await drive(world.stable, 0.02)),
      ...(await drive(world.canary, 0.0199)),
    ]);
    await letAMinutePass();
    await sink().write([oneMore(world.canary)]);
    expect(await canaryNow()).toMatchObject({ policy_version_id: world.canary });
  });
});

it('a canary that is no worse stays', async () => {
  await sink().write([...entries(world.stable, 190, 10), ...entries(world.canary, 95, 5)]);
  await letAMinutePass();
  await sink().write(entries(world.canary, 0, 1));
  expect(await canaryNow()).toMatchObject({ policy_version_id: world.canary });
  expect(await rollbacks()).toEqual([]);
});

it('another tenant’s faults say nothing of a canary', async () => {
  const mine = world;
  const { id: tenant } = await api.tenant();
  await sink().write([...entries(world.stable, 100, 0), ...entries(world.canary, 100, 0)]);
  await letAMinutePass();
  const foreign = entries(mine.canary, 0, 50).map((entry) => ({ ...entry, tenant_id: tenant }));
  // Rows that name another tenant's session or version are refused by the database.
  expect(await sink().write(foreign)).toHaveLength(50);
  expect(await canaryNow()).toMatchObject({ policy_version_id: mine.canary });
});

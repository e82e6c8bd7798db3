import { randomBytes } from 'node:crypto';
import {
  claimJob,
  computeUsedS,
  enqueue,
  eq,
  finetunes,
  heartbeat,
  holdLease,
  newId,
  Queue,
  Sealing,
  sql,
  webhookOwner,
  withTenant,
  type ClaimedJob,
} from '@armature/db';
import type { FinetuneStatus } from '@armature/sdk/contract';
import { pino } from 'pino';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, SEALING_KEYS, startTestApi, type TestApi } from '../../test/support/api.ts';
import { armSpec, fileOf } from '../../test/support/robots.ts';
import {
  addPolicyVersion,
  addServeWorker,
  addStoredVersion,
  addUsage,
  markDataset,
  passFinetune,
} from '../../test/support/rows.ts';
import { runSweep, type SweepRun } from './run-sweep.ts';
import { sweeps } from './sweeps.ts';

let api: TestApi;
let admin: Sql;
let queue: Queue;
let lines: string[];
const failures: unknown[] = [];
const DAY = 86_400_000;

beforeAll(async () => {
  api = await startTestApi();
  admin = postgres(api.db.adminUrl, { max: 1 });
  queue = await Queue.open(api.db.worker, { onError: (error) => failures.push(error) });
});
beforeEach(() => {
  lines = [];
});
afterAll(async () => {
  await queue.close();
  await admin.end();
  await api.stop();
  expect(failures).toEqual([]);
});

let round = 0;
/** One sweep by the queue, `afterMs` from now; returns how its work ended. */
async function sweep(name: string, afterMs = 0, over: Partial<SweepRun> = {}): Promise<string> {
  round += 1;
  await queue.sendEvery('sweep', { sweep: name }, { key: `${name} ${String(round)}`, seconds: 60 });
  const work = await queue.take('sweep');
  if (work === null) throw new Error('nothing to take');
  await runSweep(work, {
    db: api.db.worker,
    store: api.store,
    queue,
    sweeps,
    sealing: Sealing.of(SEALING_KEYS),
    clock: () => new Date(Date.now() + afterMs),
    log: pino({ level: 'info' }, { write: (line: string) => void lines.push(line) }),
    stop: new AbortController().signal,
    ...over,
  });
  const [row] = await admin<{ state: string }[]>`
    select state from pgboss.job where id = ${work.id}`;
  return row?.state ?? 'gone';
}

async function tenantWithArm(name: string) {
  const { id: tenant, key } = await api.tenant(name);
  const { id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec });
  const upload = async (content: Buffer) => {
    const { dataset, parts } = await api.must('datasets.create', key, {
      name: 'cups',
      embodiment_id: embodiment,
      files: [fileOf('meta/a.json', content), fileOf('meta/b.json', Buffer.from('b'))],
    });
    return { id: dataset.id, parts, prefix: `tenants/${tenant}/datasets/${dataset.id}/` };
  };
  return { tenant, key, embodiment, upload };
}

async function keysBelow(prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of api.store.list(prefix)) keys.push(key);
  return keys;
}

/** The job of a fine-tune, as its worker has it. */
async function claimOf(finetune: string): Promise<ClaimedJob> {
  const claim = { kind: 'finetune' as const, owner: 'a worker', leaseMs: 60_000 };
  // Those of other tests stand in the queue before it.
  for (;;) {
    const job = await claimJob(api.db.worker, claim);
    if (job === null) throw new Error('the fine-tune was not claimed');
    if (job.subjectId === finetune) return job;
  }
}

describe('a sweep', () => {
  it('takes abandoned uploads away with the parts that had arrived, and no others', async () => {
    const { key, tenant, upload } = await tenantWithArm('uploads');
    const content = Buffer.from('half an upload');
    const [left, resumed, done] = [
      await upload(content),
      await upload(content),
      await upload(content),
    ];
    for (const { parts } of [left, resumed, done]) {
      const [part] = parts;
      const put = await fetch(part?.url ?? '', {
        method: 'PUT',
        headers: part?.headers ?? {},
        body: content,
      });
      expect(put.status).toBe(200);
    }
    await markDataset(api.db.worker, tenant, done.id, 'ready');
    expect(await sweep('abandoned-uploads', 6 * DAY)).toBe('completed');
    expect(await keysBelow(left.prefix)).toHaveLength(1);
    api.clock.skewMs = 2 * DAY;
    await api.must('datasets.plan', key, { id: resumed.id });
    api.clock.skewMs = 0;
    expect(await sweep('abandoned-uploads', 8 * DAY)).toBe('completed');
    expect(await keysBelow(left.prefix)).toEqual([]);
    expect((await api.call('datasets.get', key, { id: left.id })).status).toBe(404);
    for (const kept of [resumed, done]) {
      expect(await keysBelow(kept.prefix)).toHaveLength(1);
      expect((await api.must('datasets.get', key, { id: kept.id })).id).toBe(kept.id);
    }
    const { items } = await api.must('audit.list', key, { subject: left.id });
    expect(items[0]).toMatchObject({
      actor: 'platform',
      verb: 'datasets.abandon',
      detail: { name: 'cups', files: 1 },
    });
  });

  it('aborts uploads by parts that nobody goes on with, or that no row names', async () => {
    const { key, tenant, embodiment } = await tenantWithArm('parts');
    const [head, tail] = [Buffer.alloc(5_000, 1), Buffer.alloc(500, 2)];
    const parts = [head, tail].map((body) => {
      const { size, sha256 } = fileOf('part', body);
      return { size, sha256 };
    });
    const { dataset, parts: uploads } = await api.must('datasets.create', key, {
      name: 'long',
      embodiment_id: embodiment,
      files: [{ ...fileOf('videos/long.mp4', Buffer.concat([head, tail])), parts }],
    });
    const [upload] = uploads;
    const send = () =>
      fetch(upload?.url ?? '', { method: 'PUT', headers: upload?.headers ?? {}, body: head });
    expect((await send()).status).toBe(200);
    const prefix = `tenants/${tenant}/datasets/`;
    const stray = await api.store.createMultipart(`${prefix}${dataset.id}/files/videos/long.mp4`);
    const open = async () => {
      const ids: string[] = [];
      for await (const { uploadId } of api.store.listMultiparts(prefix)) ids.push(uploadId);
      return ids;
    };
    expect(await open()).toHaveLength(2);
    expect(await sweep('orphan-objects', DAY / 2)).toBe('completed');
    expect(await open()).toHaveLength(2);
    expect(await sweep('orphan-objects', 2 * DAY)).toBe('completed');
    const [named, ...rest] = await open();
    expect([named === stray, rest]).toEqual([false, []]);
    expect(await sweep('abandoned-uploads', 8 * DAY)).toBe('completed');
    expect(await open()).toEqual([]);
    expect((await send()).status).toBe(404);
  });

  it('takes the files of rejected sets away when their quarantine is over', async () => {
    const { key, tenant, upload } = await tenantWithArm('quarantine');
    const sets = [await upload(Buffer.from('1')), await upload(Buffer.from('2'))] as const;
    for (const { id, prefix } of sets) {
      await api.store.put(`${prefix}files/meta/a.json`, Buffer.from('1'));
      await api.store.put(`${prefix}derived/labels.json`, Buffer.from('1'));
      await markDataset(api.db.worker, tenant, id, 'rejected');
    }
    const [left, accepted] = sets;
    const until = (await api.must('datasets.get', key, { id: left.id })).quarantined_until;
    expect(Date.parse(until ?? '') - Date.now()).toBeGreaterThan(29 * DAY);
    await api.must('datasets.accept', key, { id: accepted.id, without_episodes: [0] });
    expect(await sweep('quarantined-sets', 29 * DAY)).toBe('completed');
    expect(await keysBelow(left.prefix)).toHaveLength(2);
    expect(await sweep('quarantined-sets', 31 * DAY)).toBe('completed');
    expect(await keysBelow(left.prefix)).toEqual([]);
    expect(await keysBelow(accepted.prefix)).toHaveLength(2);
    expect(await api.must('datasets.get', key, { id: left.id })).toMatchObject({
      status: 'deleted',
      quarantined_until: null,
    });
    const { items } = await api.must('audit.list', key, { subject: left.id });
    expect(items[0]).toMatchObject({ actor: 'platform', verb: 'datasets.expire' });
    expect(items[0]?.detail).toMatchObject({ name: 'cups', files: 2 });
  });

  it('takes objects away that no row names, once they are a day old', async () => {
    const { key, tenant, embodiment, upload } = await tenantWithArm('orphans');
    const set = await upload(Buffer.from('1'));
    const deleted = await upload(Buffer.from('2'));
    await markDataset(api.db.worker, tenant, set.id, 'ready');
    await api.must('datasets.delete', key, { id: deleted.id });
    const version = await addStoredVersion(api.db.worker, api.store, tenant, embodiment);
    const { digest } = await api.must('policies.get', key, { id: version });
    const { id: finetune } = await api.must('finetunes.create', key, {
      name: 'f',
      dataset_id: set.id,
      options: {},
    });
    const job = `tenants/${tenant}/finetunes/${finetune}/job_1/attempt-1/`;
    const checkpoint = { key: `${job}checkpoint-7.safetensors`, step: 7, sha256: 's' };
    await withTenant(api.db.worker, tenant, (tx) =>
      tx.update(finetunes).set({ checkpoint }).where(eq(finetunes.id, finetune)),
    );
    const kept = [
      `${set.prefix}files/meta/a.json`,
      `${set.prefix}derived/labels.json`,
      checkpoint.key,
      `tenants/${tenant}/of/another-kind`,
    ];
    const orphans = [
      // A part that arrived after its set was deleted, a set that never was.
      `${deleted.prefix}files/meta/a.json`,
      `tenants/${tenant}/datasets/ds_none/files/a`,
      `${job}checkpoint-6.safetensors`,
      `tenants/${tenant}/policies/${'0'.repeat(64)}/head.safetensors`,
    ];
    const other = `tenants/${(await api.tenant('beside')).id}/policies/${'1'.repeat(64)}/head`;
    for (const one of [...kept, ...orphans, other]) await api.store.put(one, Buffer.from('x'));
    const there = async () => (await keysBelow(`tenants/${tenant}/`)).sort();
    const policy = [`head.safetensors`, `manifest.json`].map(
      (name) => `tenants/${tenant}/policies/${digest}/${name}`,
    );
    const all = [...kept, ...orphans, ...policy].sort();
    expect(await sweep('orphan-objects')).toBe('completed');
    expect(await there()).toEqual(all);

    // While a job stores a version, versions are left alone.
    const through = (...states: FinetuneStatus[]) =>
      passFinetune(api.db.worker, tenant, finetune, ...states);
    await through('running', 'evaluating', 'packaging');
    expect(await sweep('orphan-objects', 2 * DAY)).toBe('completed');
    expect(await there()).toEqual([...kept, ...orphans.slice(3), ...policy].sort());
    await through('queued');
    expect(await sweep('orphan-objects', 2 * DAY)).toBe('completed');
    expect(await there()).toEqual([...kept, ...policy].sort());
    expect(await keysBelow(other)).toEqual([]);
    expect(await sweep('orphan-objects', 2 * DAY)).toBe('completed');
  });

  it('takes objects away while a fine-tune of the tenant runs, whose worker waits for nothing', async () => {
    const { key, tenant, upload } = await tenantWithArm('beside');
    const set = await upload(Buffer.from('1'));
    await markDataset(api.db.worker, tenant, set.id, 'ready');
    const input = { name: 'f', dataset_id: set.id, options: {} };
    const { id: finetune } = await api.must('finetunes.create', key, input);
    const job = await claimOf(finetune);
    await passFinetune(api.db.worker, tenant, finetune, 'running');
    const attempt = `tenants/${tenant}/finetunes/${finetune}/${job.id}/attempt-`;
    // Of the attempt that runs: it may record it yet, old as it is.
    const kept = `${attempt}${String(job.attempt)}/checkpoint-2.safetensors`;
    const orphans = [`${attempt}0/checkpoint-1.safetensors`];
    for (let i = 0; i < 25; i += 1) orphans.push(`tenants/${tenant}/datasets/ds_none/files/${i}`);
    for (const one of [kept, ...orphans]) await api.store.put(one, Buffer.from('x'));
    let recorded = 0;
    const store: typeof api.store = Object.create(api.store, {
      delete: {
        value: async (one: string) => {
          await withTenant(api.db.worker, tenant, async (tx) => {
            await tx.execute(sql`set local lock_timeout = '2s'`);
            await holdLease(tx, job);
            await tx.update(finetunes).set({ progress: 0.5 }).where(eq(finetunes.id, finetune));
          });
          expect(await heartbeat(api.db.worker, job)).toBe('ok');
          recorded += 1;
          await api.store.delete(one);
        },
      },
    });
    expect(await sweep('orphan-objects', 2 * DAY, { store })).toBe('completed');
    expect(recorded).toBe(orphans.length);
    expect(await keysBelow(`tenants/${tenant}/`)).toEqual([kept]);
  });

  it('lets versions expire that were retired a month ago and that nothing needs', async () => {
    const { key, tenant, embodiment, upload } = await tenantWithArm('retired');
    const set = await upload(Buffer.from('1'));
    await markDataset(api.db.worker, tenant, set.id, 'ready');
    await addServeWorker(api.db.worker);
    const version = () => addStoredVersion(api.db.worker, api.store, tenant, embodiment);
    const [free, driven, based, twin] = [
      await version(),
      await version(),
      await version(),
      await version(),
    ];
    const { digest } = await api.must('policies.get', key, { id: twin });
    const same = await addPolicyVersion(api.db.worker, tenant, embodiment, { digest });
    const { session } = await api.must('sessions.create', key, {
      robot: 'r1',
      embodiment_id: embodiment,
      policy_version_id: driven,
    });
    const draft = await api.must('finetunes.create', key, {
      name: 'f',
      dataset_id: set.id,
      options: { base_policy_version_id: based },
      start: false,
    });
    for (const id of [free, driven, based, twin]) await api.must('policies.retire', key, { id });
    const downloads = async () => {
      const has: boolean[] = [];
      for (const id of [free, driven, based, twin, same]) {
        const answer = await api.call('policies.files', key, { id });
        if (answer.ok === undefined) {
          expect(answer).toMatchObject({ status: 409, problem: { code: 'conflict', field: 'id' } });
        }
        has.push(answer.ok !== undefined);
      }
      return has;
    };
    const both = async (afterMs: number) => {
      expect(await sweep('retired-versions', afterMs)).toBe('completed');
      expect(await sweep('orphan-objects', afterMs)).toBe('completed');
    };
    await both(29 * DAY);
    expect(await downloads()).toEqual([true, true, true, true, true]);
    await both(31 * DAY);
    expect(await downloads()).toEqual([false, true, true, false, true]);
    const again = { name: 'f', dataset_id: set.id, options: { base_policy_version_id: free } };
    expect(await api.call('finetunes.create', key, again)).toMatchObject({
      status: 409,
      problem: { field: 'options.base_policy_version_id' },
    });
    await api.must('sessions.end', key, { id: session.id });
    await api.must('finetunes.cancel', key, { id: draft.id });
    await both(31 * DAY);
    expect(await downloads()).toEqual([false, false, false, false, true]);
    expect(await keysBelow(`tenants/${tenant}/policies/`)).toHaveLength(2);
    const log = await api.must('audit.list', key, { subject: free });
    expect(log.items[0]).toMatchObject({ actor: 'platform', verb: 'policies.expire' });
  });

  it('ends sessions whose robots have been gone for a day', async () => {
    const { key, tenant, embodiment } = await tenantWithArm('idle');
    const policy = await addPolicyVersion(api.db.worker, tenant, embodiment);
    await addServeWorker(api.db.worker);
    const input = { robot: 'r1', embodiment_id: embodiment, policy_version_id: policy };
    const gone = (await api.must('sessions.create', key, input)).session.id;
    const back = (await api.must('sessions.create', key, input)).session.id;
    await admin`update sessions set granted_at = granted_at - interval '2 hours'
      where tenant_id = ${tenant}`;
    await api.must('sessions.resume', key, { id: back });
    // More than are ended in one transaction.
    await admin`
      insert into sessions (id, tenant_id, robot, embodiment_id, policy_version_id, options, worker_id, granted_at)
      select 'ses_' || ${tenant} || n, tenant_id, robot, embodiment_id, policy_version_id, options, worker_id, granted_at
      from sessions, generate_series(1, 600) n where id = ${gone}`;
    const open = async () =>
      (await admin`select from sessions where tenant_id = ${tenant} and ended_at is null`).length;
    expect(await sweep('idle-sessions', 0.9 * DAY)).toBe('completed');
    expect(await open()).toBe(602);
    expect(await sweep('idle-sessions', 0.95 * DAY)).toBe('completed');
    expect(await open()).toBe(1);
    expect((await api.must('sessions.get', key, { id: back })).ended_at).toBeNull();
    expect(await api.call('sessions.resume', key, { id: gone })).toMatchObject({
      status: 409,
      problem: { code: 'conflict', field: 'id' },
    });
    const { items } = await api.must('audit.list', key, { subject: gone });
    expect(items[0]).toMatchObject({ actor: 'platform', verb: 'sessions.expire' });
  });

  it('closes windows of usage as the one who asks for them would', async () => {
    const { key, tenant, embodiment } = await tenantWithArm('usage');
    const policy = await addPolicyVersion(api.db.worker, tenant, embodiment);
    await addServeWorker(api.db.worker);
    const { session } = await api.must('sessions.create', key, {
      robot: 'r1',
      embodiment_id: embodiment,
      policy_version_id: policy,
    });
    await addUsage(api.db.worker, tenant, session.id, 6, new Date(Date.now() - DAY));
    const windows = () => admin<{ chunks: number }[]>`
      select chunks from usage_windows where tenant_id = ${tenant}`;
    expect(await windows()).toHaveLength(0);
    expect(await sweep('close-usage')).toBe('completed');
    expect((await windows()).reduce((sum, { chunks }) => sum + chunks, 0)).toBe(6);
    const before = [...(await windows())];
    expect(await sweep('close-usage')).toBe('completed');
    expect([...(await windows())]).toEqual(before);
    const usage = await api.must('usage.get', key, {});
    expect(usage.totals.chunks).toBe(6);
  });

  it('pauses fine-tunes whose tenant or key has used its computation up, and no others', async () => {
    const { key: admin, tenant, upload } = await tenantWithArm('spent');
    const { id: dataset } = await upload(Buffer.from('a set'));
    await markDataset(api.db.worker, tenant, dataset, 'ready');
    const { key, secret } = await api.must('keys.create', admin, {
      name: 'little',
      scopes: ['write'],
      limits: { compute_s_per_month: 0.01 },
    });
    const input = { name: 'f', dataset_id: dataset, options: {} };
    const running = await api.must('finetunes.create', secret, input);
    const job = await claimOf(running.id);
    await passFinetune(api.db.worker, tenant, running.id, 'running');
    await expect
      .poll(() => withTenant(api.db.worker, tenant, (tx) => computeUsedS(tx, tenant, key.id)))
      .toBeGreaterThan(0.01);
    const waiting = await api.must('finetunes.create', admin, input);
    const statusOf = async (id: string) => (await api.must('finetunes.get', admin, { id })).status;

    expect(await sweep('spent-compute')).toBe('completed');
    expect(await statusOf(running.id)).toBe('pausing');
    expect(await heartbeat(api.db.worker, job)).toBe('pause');
    expect(await statusOf(waiting.id)).toBe('queued');
    const { items } = await api.must('finetunes.events', admin, { id: running.id });
    const warning = items.find(({ kind }) => kind === 'warning');
    expect(warning?.message).toContain('compute_s_per_month_per_key');

    const limit = { id: tenant, name: 'compute_s_per_month' } as const;
    await api.must('tenants.limit', PLATFORM_KEY, { ...limit, value: 0.01 });
    expect(await sweep('spent-compute')).toBe('completed');
    expect(await statusOf(waiting.id)).toBe('paused');
    const refused = await api.call('finetunes.resume', admin, { id: waiting.id });
    expect(refused).toMatchObject({ status: 429, problem: { limit: limit.name } });
    const log = await api.must('audit.list', admin, { subject: waiting.id });
    expect(log.items[0]).toMatchObject({ actor: 'platform', verb: 'finetunes.pause' });

    await api.must('tenants.limit', PLATFORM_KEY, { ...limit, value: null });
    await api.must('finetunes.resume', admin, { id: waiting.id });
    expect(await sweep('spent-compute')).toBe('completed');
    expect(await statusOf(waiting.id)).toBe('queued');
  });

  it('forgets deviations of a month ago', async () => {
    const { key, tenant, embodiment } = await tenantWithArm('deviations');
    const policy = await addPolicyVersion(api.db.worker, tenant, embodiment);
    await addServeWorker(api.db.worker);
    const { session } = await api.must('sessions.create', key, {
      robot: 'r1',
      embodiment_id: embodiment,
      policy_version_id: policy,
    });
    await admin`
      insert into policy_deviations (tenant_id, policy_version_id, session_id, window_at, chunks, deviation)
      select ${tenant}, ${policy}, ${session.id}, date_trunc('minute', now()) - days * interval '1 day', 1, 0.1
      from generate_series(0, 2) days`;
    const left = async () =>
      (await admin`select from policy_deviations where tenant_id = ${tenant}`).length;
    expect(await sweep('old-deviations', 28.5 * DAY)).toBe('completed');
    expect(await left()).toBe(2);
    expect(await sweep('old-deviations', 31 * DAY)).toBe('completed');
    expect(await left()).toBe(0);
  });

  it('forgets invitations that expired long ago, not those that were accepted', async () => {
    const { key } = await tenantWithArm('people');
    const invite = (email: string) =>
      api.must('invitations.create', key, { email, role: 'viewer', expires_in_s: 60 });
    await api.must('invitations.accept', (await invite('a@example.com')).secret, {});
    await invite('b@example.com');
    expect(await sweep('expired-invitations', 29 * DAY)).toBe('completed');
    expect((await api.must('invitations.list', key, {})).items).toHaveLength(2);
    expect(await sweep('expired-invitations', 31 * DAY)).toBe('completed');
    const { items } = await api.must('invitations.list', key, {});
    expect(items.map(({ email }) => email)).toEqual(['a@example.com']);
  });

  it('ends messages that nothing carries any more, and forgets old ones', async () => {
    const { key, tenant, upload } = await tenantWithArm('messages');
    const { webhook } = await api.must('webhooks.create', key, {
      url: 'https://example.com/hook',
      events: ['dataset.ready', 'dataset.rejected'],
    });
    const { id } = await upload(Buffer.from('x'));
    await markDataset(api.db.worker, tenant, id, 'ready');
    await markDataset(api.db.worker, tenant, id, 'rejected');
    const statuses = async () =>
      (await api.must('webhooks.deliveries', key, { id: webhook.id })).items.map(
        ({ event, status }) => `${event} ${status}`,
      );
    await admin`update pgboss.job set state = 'failed' where id = (
      select job_id from webhook_deliveries where event = 'dataset.ready' and tenant_id = ${tenant})`;
    expect(await sweep('ended-deliveries')).toBe('completed');
    expect(await statuses()).toEqual(['dataset.rejected pending', 'dataset.ready failed']);
    expect(await sweep('ended-deliveries', 31 * DAY)).toBe('completed');
    expect(await statuses()).toEqual(['dataset.rejected pending']);
  });

  it('sends overdue jobs to the queue again that it lost, each once', async () => {
    const { tenant } = await tenantWithArm('uncarried');
    const send = () =>
      withTenant(api.db.app, tenant, (tx) =>
        enqueue(tx, { tenantId: tenant, kind: 'finetune', subjectId: newId('ft') }),
      );
    const [overdue, carried, recent] = [await send(), await send(), await send()];
    await admin`update jobs set run_at = now() - interval '2 minutes' where id in ${admin([overdue, carried])}`;
    const pieces = async () => {
      const rows = await admin<{ job: string }[]>`
        select data->>'job_id' as job from pgboss.job
        where name = 'finetune' and state < 'active' and data->>'tenant_id' = ${tenant}`;
      return rows.map(({ job }) => job).sort();
    };
    await admin`delete from pgboss.job where data->>'job_id' in ${admin([overdue, recent])}`;
    const before = await pieces();
    expect(new Set(before)).toEqual(new Set([carried]));
    for (let round = 0; round < 2; round++) {
      expect(await sweep('uncarried-jobs')).toBe('completed');
      expect(await pieces()).toEqual([overdue, ...before].sort());
    }
  });

  it('seals secrets anew, so that an earlier key can go, and forgets those that are replaced', async () => {
    const { key, tenant } = await tenantWithArm('secrets');
    const { webhook, secret } = await api.must('webhooks.create', key, {
      url: 'https://example.com/hook',
      events: ['dataset.ready'],
    });
    const { secret: newest } = await api.must('webhooks.rotate', key, {
      id: webhook.id,
      overlap_s: 3_600,
    });
    const next = `next:${randomBytes(32).toString('base64url')}`;
    const sealed = async () => {
      const [row] = await admin<{ sealed_secret: string; sealed_previous: string | null }[]>`
        select sealed_secret, sealed_previous from webhook_endpoints where id = ${webhook.id}`;
      return [row?.sealed_secret ?? '', row?.sealed_previous ?? null] as const;
    };
    const both = Sealing.of(`${next},${SEALING_KEYS}`);
    expect(await sweep('reseal-secrets', 0, { sealing: both })).toBe('completed');
    const [current, previous] = await sealed();
    const owner = webhookOwner(tenant, webhook.id);
    const alone = Sealing.of(next);
    expect(alone.open(current, owner)).toBe(newest);
    expect(alone.open(previous ?? '', owner)).toBe(secret);
    expect(await sweep('reseal-secrets', 2 * 3_600_000, { sealing: alone })).not.toBe('gone');
    expect((await sealed())[1]).toBeNull();
  });

  it('goes on with other tenants where it fails for one, and is tried again', async () => {
    await tenantWithArm('first');
    await tenantWithArm('second');
    const swept: string[] = [];
    const forTenant = (tenant: string) => {
      swept.push(tenant);
      return swept.length === 1 ? Promise.reject(new Error('for a test')) : Promise.resolve(1);
    };
    const one = { name: 'one', everyS: 60, forTenant };
    expect(await sweep('one', 0, { sweeps: [one] })).toBe('retry');
    const [{ tenants } = { tenants: 0 }] = await admin<{ tenants: number }[]>`
      select count(*)::int as tenants from tenants`;
    expect(swept).toHaveLength(tenants);
    expect(lines.join('')).toContain('a tenant was not swept');
  });

  it('ends before another would take it, or when it is stopped, and is tried again', async () => {
    const stop = new AbortController();
    const forTenant = () => {
      stop.abort();
      return Promise.resolve(1);
    };
    const one = { name: 'one', everyS: 60, forTenant };
    expect(await sweep('one', 0, { sweeps: [one], stop: stop.signal })).toBe('retry');
    expect(await sweep('of another release')).toBe('completed');
  });
});

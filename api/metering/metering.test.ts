import {
  closeUsageWindows,
  finetunes,
  newId,
  usageWindows,
  withTenant,
  writeRecords,
  writeTrainingUsage,
} from '@armature/db';
import { finetuneModeSchema, finetuneOptionsSchema } from '@armature/sdk/contract';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { resolveOptions } from '@armature/policy/train';
import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, startTestApi, type TestApi } from '../../test/support/api.ts';
import { armSpec, fileOf } from '../../test/support/robots.ts';
import {
  addPolicyVersion,
  addServeWorker,
  markReady,
  failFinetune,
  passFinetune,
} from '../../test/support/rows.ts';
import { estimateTraining } from './estimate.ts';
import { decimalOf, picoOf } from './money.ts';
import { PriceSheets, readPriceSheets } from './price-sheets.ts';
import { trainingRates } from './training-rates.ts';

let api: TestApi;
let admin: postgres.Sql;
beforeAll(async () => {
  api = await startTestApi();
  admin = postgres(api.db.adminUrl, { max: 1 });
});
afterAll(async () => {
  await admin.end();
  await api.stop();
});

const HOUR = 3_600_000;

/** A tenant with two robots' sessions. */
async function fleet() {
  const { id: tenant, key } = await api.tenant();
  const embodiment = await api.must('embodiments.create', key, { spec: armSpec });
  const policy = await addPolicyVersion(api.db.worker, tenant, embodiment.id);
  await addServeWorker(api.db.worker);
  const open = async (robot: string) => {
    const input = { robot, embodiment_id: embodiment.id, policy_version_id: policy };
    return (await api.must('sessions.create', key, input)).session.id;
  };
  const sessions = [await open('left'), await open('right')] as const;
  let number = 0;
  const serve = async (session: string, at: Date, chunks = 1) => {
    const usage = Array.from({ length: chunks }, () => ({
      kind: 'usage' as const,
      id: `${session}:0:${number++}`,
      session_id: session,
      policy_version_id: policy,
      reasoning_id: null,
      actions: 16,
      reasoning_tokens: 3,
      compute_us: 12_345,
      at: at.toISOString(),
    }));
    await writeRecords(api.db.worker, tenant, usage);
  };
  return { tenant, key, policy, sessions, serve, embodiment: embodiment.id };
}

const day = (zone: string, at: Date): string =>
  new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short' }).format(at);

describe('windows', () => {
  it('add up to the chunks served, in the days of the tenant’s zone, whenever they are closed', async () => {
    const now = Date.now();
    const step = fc.record({
      agoH: fc.double({ min: 0, max: 60, noNaN: true }),
      session: fc.nat(1),
      chunks: fc.integer({ min: 1, max: 4 }),
      closeAgoH: fc.option(fc.double({ min: 0, max: 70, noNaN: true })),
    });
    const zones = fc.constantFrom('Asia/Kathmandu', 'America/St_Johns', 'UTC', 'Europe/Berlin');
    const property = fc.asyncProperty(
      zones,
      fc.array(step, { minLength: 3, maxLength: 12 }),
      async (zone, steps) => {
        const { tenant, key, policy, sessions, serve } = await fleet();
        await api.must('tenants.update', key, { time_zone: zone });
        let closed = 0;
        const days = new Map<string, number>();
        const robots = new Map<string, number>();
        for (const { agoH, session, chunks, closeAgoH } of steps) {
          const at = new Date(now - Math.round(agoH * HOUR));
          await serve(sessions[session] ?? '', at, chunks);
          // What comes after its window was closed counts in the first that is open.
          const counted = day(zone, new Date(Math.max(at.getTime(), closed)));
          days.set(counted, (days.get(counted) ?? 0) + chunks);
          const robot = session === 0 ? 'left' : 'right';
          robots.set(robot, (robots.get(robot) ?? 0) + chunks);
          if (closeAgoH === null) continue;
          const until = new Date(now - closeAgoH * HOUR);
          const end = await withTenant(api.db.app, tenant, (tx) =>
            closeUsageWindows(tx, tenant, until),
          );
          closed = end.getTime();
        }
        const from = new Date(now - 72 * HOUR).toISOString();
        const before = await windowsOf(tenant);
        const byDay = await api.must('usage.get', key, { from });
        const total = steps.reduce((sum, { chunks }) => sum + chunks, 0);
        expect(byDay.totals).toMatchObject({ chunks: total, actions: 16 * total });
        expect(Object.fromEntries(byDay.items.map((row) => [row.key, row.chunks]))).toEqual(
          Object.fromEntries(days),
        );
        const byRobot = await api.must('usage.get', key, { from, group_by: 'robot' });
        expect(Object.fromEntries(byRobot.items.map((row) => [row.key, row.chunks]))).toEqual(
          Object.fromEntries(robots),
        );
        const versions = await api.must('usage.get', key, { from, group_by: 'policy_version' });
        expect(versions.items).toMatchObject([{ key: policy, chunks: total }]);
        // However it is divided, the cost is the same to the last digit.
        for (const { items, totals } of [byDay, byRobot, versions]) {
          const sum = items.reduce((all, { cost }) => all + picoOf(cost), 0n);
          expect(decimalOf(sum)).toBe(totals.cost);
          expect(totals.cost).toBe(versions.totals.cost);
        }
        // What was closed has not changed.
        expect(await windowsOf(tenant)).toEqual(expect.arrayContaining(before));
      },
    );
    await fc.assert(property, { numRuns: 12, seed: 3 });
  });

  it('are closed a day of usage at a time, however many were left open', async () => {
    const { tenant, key, sessions, serve } = await fleet();
    const now = Date.now();
    const agoH = [24 * 90, 24 * 5, 24 * 5 - 1, 24 * 4 - 1, 24 * 3];
    for (const [i, hours] of agoH.entries()) {
      await serve(sessions[0], new Date(now - hours * HOUR), i + 1);
    }
    const until = new Date(now - HOUR);
    const step = () => withTenant(api.db.app, tenant, (tx) => closeUsageWindows(tx, tenant, until));
    const closed: number[] = [];
    for (let before = 0; ;) {
      const after = (await step()).getTime();
      if (after === before) break;
      closed.push((await windowsOf(tenant)).length);
      before = after;
    }
    // Days in which nothing was used are passed over.
    expect(closed).toEqual([1, 3, 5, 5]);
    const from = new Date(now - 100 * 24 * HOUR).toISOString();
    const usage = await api.must('usage.get', key, { from });
    expect(usage.totals.chunks).toBe(1 + 2 + 3 + 4 + 5);

    const other = await fleet();
    for (const [i, hours] of agoH.entries()) {
      await other.serve(other.sessions[0], new Date(now - hours * HOUR), i + 1);
    }
    const { items } = await api.must('usage.lines', other.key, { from });
    expect(items.map(({ chunks }) => chunks)).toEqual([5, 4, 3, 2, 1]);
  });

  it('are summed for 400 days and 10,000 keys at most', async () => {
    const { tenant, key } = await fleet();
    const now = Date.now();
    const from = (days: number) => ({ from: new Date(now - days * 24 * HOUR).toISOString() });
    await api.must('usage.get', key, from(399));
    expect(await api.call('usage.get', key, from(401))).toMatchObject({
      status: 400,
      problem: { code: 'invalid_request', field: 'from' },
    });
    const admin = postgres(api.db.adminUrl, { max: 1 });
    await admin`
      insert into usage_windows (id, tenant_id, window_at, session_id, robot, policy_version_id,
        chunks, actions, reasoning_tokens, compute_us, training_us)
      select ${tenant} || n, ${tenant}, now() - interval '2 days', 's' || n, 'r' || n % 10000, 'pv',
        1, 16, 0, 0, 0
      from generate_series(1, 10001) n`;
    await admin.end();
    const by = (group_by: 'session' | 'robot') => api.call('usage.get', key, { group_by });
    expect((await by('robot')).ok?.items).toHaveLength(10_000);
    expect(await by('session')).toMatchObject({
      status: 400,
      problem: { code: 'invalid_request', field: 'group_by' },
    });
  });

  it('lose and double nothing while writers and closers run at the same time', async () => {
    const { tenant, key, sessions, serve } = await fleet();
    const base = Date.now() - 10 * HOUR;
    const writers = sessions.map(async (session, w) => {
      for (let i = 0; i < 40; i += 1) await serve(session, new Date(base + i * 600_000 + w), 3);
    });
    const closers = [0, 1].map(async () => {
      for (let i = 0; i < 40; i += 1) {
        const until = new Date(base + i * 600_000);
        await withTenant(api.db.app, tenant, (tx) => closeUsageWindows(tx, tenant, until));
      }
    });
    await Promise.all([...writers, ...closers]);
    api.clock.skewMs = 24 * HOUR;
    const usage = await api.must('usage.get', key, {});
    expect(usage.totals).toMatchObject({ chunks: 240, actions: 240 * 16 });
    const lines = [];
    for (let cursor: string | undefined; ;) {
      const input = { limit: 7, ...(cursor === undefined ? {} : { cursor }) };
      const page = await api.must('usage.lines', key, input);
      lines.push(...page.items);
      if (page.next_cursor === null) break;
      cursor = page.next_cursor;
    }
    api.clock.skewMs = 0;
    expect(new Set(lines.map(({ id }) => id)).size).toBe(lines.length);
    expect(lines.reduce((sum, { chunks }) => sum + chunks, 0)).toBe(240);
    const [raw] = await admin<{ chunks: number }[]>`
      select count(*)::int as chunks from usage_events where tenant_id = ${tenant}`;
    expect(raw?.chunks).toBe(240);
  });

  it('hold what fine-tunes took, once an attempt', async () => {
    const { tenant, key, embodiment } = await fleet();
    const finetune = await startFinetune(tenant, key, embodiment);
    for (const id of ['job:1', 'job:1', 'job:2']) {
      await withTenant(api.db.worker, tenant, (tx) =>
        writeTrainingUsage(tx, {
          id: `${finetune}:${id}`,
          tenantId: tenant,
          finetuneId: finetune,
          computeUs: 90_000_000,
        }),
      );
    }
    const expected = [{ key: 'training', training_ms: 180_000, cost: '0.09' }];
    expect((await api.must('usage.get', key, { group_by: 'robot' })).items).toMatchObject(expected);
    api.clock.skewMs = 2 * HOUR;
    expect((await api.must('usage.get', key, { group_by: 'robot' })).items).toMatchObject(expected);
    expect((await api.must('usage.lines', key, {})).items).toMatchObject([
      { finetune_id: finetune, robot: null, training_ms: 180_000, price_sheet: '2026-01' },
    ]);
    api.clock.skewMs = 0;
  });

  it('know no zone that is none', async () => {
    const { key } = await fleet();
    expect(await api.call('tenants.update', key, { time_zone: 'Mars/Olympus' })).toMatchObject({
      status: 400,
      problem: { code: 'invalid_request', field: 'time_zone' },
    });
  });
});

const windowsOf = (tenant: string) =>
  withTenant(api.db.app, tenant, (tx) =>
    tx.select().from(usageWindows).where(eq(usageWindows.tenantId, tenant)),
  );

async function startFinetune(tenant: string, key: string, embodiment: string): Promise<string> {
  const set = await readySet(tenant, key, embodiment);
  const input = { name: 'f', dataset_id: set, options: {} };
  return (await api.must('finetunes.create', key, input)).id;
}

async function readySet(tenant: string, key: string, embodiment: string): Promise<string> {
  const { dataset } = await api.must('datasets.create', key, {
    name: 'd',
    embodiment_id: embodiment,
    files: [fileOf('a', Buffer.alloc(1))],
  });
  await markReady(api.db.worker, tenant, dataset.id);
  return dataset.id;
}

describe('estimates', () => {
  it('take the steps and batches that training would', () => {
    for (const mode of finetuneModeSchema.options) {
      const options = finetuneOptionsSchema.parse({ mode });
      const { steps, batchSize } = resolveOptions(options);
      expect(trainingRates.modes[mode]).toMatchObject({ steps, batch_size: batchSize });
    }
  });

  it('follow the data, the options and what was measured', () => {
    const of = (options: object, measured: number | null = null) =>
      estimateTraining({
        options: finetuneOptionsSchema.parse({ mode: 'policy', ...options }),
        sets: [
          { episodes: 20, frames: 4_000 },
          { episodes: 30, frames: 6_000 },
        ],
        heldoutFrames: 0,
        measured,
        rates: trainingRates,
      });
    const { prepare_s: prepare, decoded_frames_per_s: decoded, modes } = trainingRates;
    const stepping = (1500 * 128) / modes.policy.samples_per_s;
    expect(of({}).seconds).toBe(Math.ceil(prepare + 10_000 / decoded + stepping));
    expect(of({ steps: 0, max_episodes: 25 }).seconds).toBe(Math.ceil(prepare + 5_000 / decoded));
    expect(of({ max_seconds: 10 }).seconds).toBe(Math.ceil(prepare + 10_000 / decoded + 10));
    expect(of({ steps: 100, batch_size: 10 }, 50)).toEqual({
      steps: 100,
      seconds: Math.ceil(prepare + 10_000 / decoded + 20),
      basis: 'measured',
    });
  });

  it('are kept with the job, and refuse what the month has no room for', async () => {
    const { tenant, key, embodiment } = await fleet();
    const dataset_id = await readySet(tenant, key, embodiment);
    const input = { dataset_id, options: { mode: 'head' as const, steps: 1000 } };
    const estimate = await api.must('finetunes.estimate', key, input);
    expect(estimate).toMatchObject({ steps: 1000, basis: 'reference', price_sheet: '2026-01' });
    const job = await api.must('finetunes.create', key, { name: 'f', ...input });
    expect(job.estimate).toEqual(estimate);
    // Room for one and a half of them, one of which waits.
    const value = Number(estimate.cost) * 1.5;
    await api.must('tenants.limit', PLATFORM_KEY, { id: tenant, name: 'cost_per_month', value });
    const refusal = { status: 429, problem: { code: 'quota_exceeded', limit: 'cost_per_month' } };
    expect(await api.call('finetunes.estimate', key, input)).toMatchObject(refusal);
    expect(await api.call('finetunes.create', key, { name: 'g', ...input })).toMatchObject(refusal);
    await api.must('finetunes.cancel', key, { id: job.id });
    await api.must('finetunes.estimate', key, input);
  });

  it('refuse a fine-tune that goes on as they refuse a new one', async () => {
    const { tenant, key, embodiment } = await fleet();
    const dataset_id = await readySet(tenant, key, embodiment);
    const input = { name: 'f', dataset_id, options: { mode: 'head' as const, steps: 1000 } };
    const paused = await api.must('finetunes.create', key, input);
    await api.must('finetunes.pause', key, { id: paused.id });
    const failed = await api.must('finetunes.create', key, input);
    await passFinetune(api.db.worker, tenant, failed.id, 'running');
    await failFinetune(api.db.worker, tenant, failed.id);
    const limit = { id: tenant, name: 'cost_per_month' } as const;
    await api.must('tenants.limit', PLATFORM_KEY, { ...limit, value: 0 });
    const refusal = { status: 429, problem: { code: 'quota_exceeded', limit: 'cost_per_month' } };
    const resume = () => api.call('finetunes.resume', key, { id: paused.id });
    const retry = () => api.call('finetunes.retry', key, { id: failed.id });
    const refused = [await resume(), await retry()];
    expect(refused).toMatchObject([refusal, refusal]);
    for (const { problem } of refused) expect(problem?.retry_after_s).toBeGreaterThan(0);
    // Room for one and a half of them.
    const value = Number(paused.estimate?.cost) * 1.5;
    await api.must('tenants.limit', PLATFORM_KEY, { ...limit, value });
    expect(await resume()).toMatchObject({ status: 200 });
    expect(await retry()).toMatchObject(refusal);
  });

  it('use the speed of the tenant’s own jobs', async () => {
    const { tenant, key, embodiment } = await fleet();
    const dataset_id = await readySet(tenant, key, embodiment);
    for (const samples_per_s of [10, 1000, 100]) {
      const id = newId('ft');
      await withTenant(api.db.app, tenant, (tx) =>
        tx.insert(finetunes).values({
          id,
          tenantId: tenant,
          name: 'before',
          embodimentId: embodiment,
          datasetId: dataset_id,
          options: {},
          status: 'queued',
          train: {
            mode: 'head',
            steps: 1,
            samples_per_s,
            seconds: 1,
            first_loss: 1,
            last_loss: 1,
          },
        }),
      );
      const through = ['running', 'evaluating', 'packaging', 'succeeded'] as const;
      await passFinetune(api.db.app, tenant, id, ...through);
    }
    const options = { mode: 'head' as const, steps: 100, batch_size: 50 };
    expect(await api.must('finetunes.estimate', key, { dataset_id, options })).toMatchObject({
      basis: 'measured',
      seconds: trainingRates.prepare_s + 50,
    });
  });
});

describe('prices', () => {
  const sheet = (version: string, valid_from: string, chunk: string) => ({
    version,
    currency: 'USD',
    valid_from,
    prices: { chunk, action: '0', reasoning_token: '0', compute_s: '0.000001', training_s: '0' },
  });

  it('hold from their instant to that of the next sheet', async () => {
    const prices = new PriceSheets([
      sheet('a', '1970-01-01T00:00:00.000Z', '1'),
      sheet('b', '2026-02-01T00:00:00.000Z', '2.5'),
    ]);
    const at = (text: string) => prices.at(prices.indexAt(new Date(text))).version;
    expect(at('2026-01-31T23:59:59.999Z')).toBe('a');
    expect(at('2026-02-01T00:00:00.000Z')).toBe('b');
    const used = { chunks: 3, actions: 1, reasoningTokens: 1, computeUs: 1, trainingUs: 5 };
    expect(decimalOf(prices.cost(1, used))).toBe('7.500000000001');
    const items = (await api.must('prices.list', (await api.tenant()).key, {})).items;
    expect(items.map(({ version }) => version)).toEqual(['2026-01']);
  });

  it('are refused where they are not in order, or not exact', () => {
    const first = sheet('a', '2026-02-01T00:00:00.000Z', '1');
    expect(() => new PriceSheets([first, first])).toThrow('does not follow');
    const odd = { ...first, prices: { ...first.prices, training_s: '0.0000001' } };
    expect(() => new PriceSheets([odd])).toThrow('not exact');
  });

  it('are those of the file that the operator names, which is looked at when the process starts', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'armature-prices-'));
    const file = path.join(folder, 'prices.json');
    const good = [
      sheet('old', '1970-01-01T00:00:00.000Z', '0.5'),
      sheet('new', '2026-02-01T00:00:00.000Z', '0.25'),
    ];
    await writeFile(file, JSON.stringify(good));
    expect(readPriceSheets(file).sheets).toEqual(good);
    const [first, second] = good;
    const wrong: Record<string, string> = {
      'no JSON': '[',
      'no list': '{}',
      'no sheet': '[]',
      'out of order': JSON.stringify([second, first]),
      'a price of binary fractions': JSON.stringify([{ ...first, prices: { chunk: 0.1 } }]),
    };
    for (const [what, text] of Object.entries(wrong)) {
      await writeFile(file, text);
      expect(() => readPriceSheets(file), what).toThrow(
        expect.objectContaining({ code: 'invalid_request', field: 'PRICES_FILE' }),
      );
    }
    await rm(folder, { recursive: true });
    expect(() => readPriceSheets(file)).toThrow(/PRICES_FILE: .*ENOENT/);
  });

  it('are written and read without a loss', () => {
    const property = fc.property(fc.bigInt(0n, 10n ** 24n), (pico) => {
      expect(picoOf(decimalOf(pico))).toBe(pico);
    });
    fc.assert(property);
  });
});

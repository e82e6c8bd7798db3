import { appendEvents, claimJob, eq, finetunes, settle, withTenant } from '@armature/db';
import type { RouteName, RouteOutput } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, startTestApi, type TestApi } from '../test/support/api.ts';
import { armSpec, fileOf } from '../test/support/robots.ts';
import { addPolicyVersion, failFinetune, markDataset, markReady } from '../test/support/rows.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => api.stop());

async function queued() {
  const { id: tenant, key } = await api.tenant();
  const embodiment = await api.must('embodiments.create', key, { spec: armSpec });
  const { dataset } = await api.must('datasets.create', key, {
    name: 'd',
    embodiment_id: embodiment.id,
    files: [fileOf('a', Buffer.alloc(1))],
  });
  await markReady(api.db.worker, tenant, dataset.id);
  const input = { name: 'f', dataset_id: dataset.id, options: {} };
  const { id } = await api.must('finetunes.create', key, input);
  const status = async (
    verb: Extract<RouteName, `finetunes.${'pause' | 'resume' | 'retry' | 'cancel'}`>,
  ) => {
    const answer = await api.call(verb, key, { id });
    return answer.ok?.status ?? answer.problem?.code;
  };
  return { tenant, key, id, status, embodiment: embodiment.id, dataset: dataset.id };
}

describe('a fine-tune', () => {
  it('is paused and resumed while it waits, and cancelled while it is paused', async () => {
    const { tenant, key, id, status } = await queued();
    const claim = () => claimJob(api.db.worker, { kind: 'finetune', owner: 'w', leaseMs: 60_000 });
    expect(await status('finetunes.resume')).toBe('conflict');
    expect(await status('finetunes.pause')).toBe('paused');
    expect(await status('finetunes.pause')).toBe('paused');
    expect(await claim()).toBeNull();
    expect(await status('finetunes.resume')).toBe('queued');
    const job = await claim();
    if (job === null) throw new Error('nothing was claimed');
    expect(await status('finetunes.pause')).toBe('pausing');
    await withTenant(api.db.worker, tenant, async (tx) => {
      await settle(tx, job, { status: 'paused' });
      await tx.update(finetunes).set({ status: 'paused' }).where(eq(finetunes.id, id));
    });
    await api.store.put(`tenants/${tenant}/finetunes/${id}/c`, new Uint8Array(1));
    expect(await status('finetunes.cancel')).toBe('cancelled');
    // Its checkpoints go with it.
    expect(await api.store.head(`tenants/${tenant}/finetunes/${id}/c`)).toBeNull();
    expect(await status('finetunes.cancel')).toBe('cancelled');
    expect(await status('finetunes.pause')).toBe('conflict');
    const { items } = await api.must('finetunes.events', key, { id });
    expect(items.map(({ message }) => message)).toEqual([
      'queued',
      'paused',
      'queued',
      'pausing',
      'cancelled',
    ]);
    const audit = await api.must('audit.list', key, { subject: id });
    expect(audit.items.map(({ verb }) => verb).reverse()).toEqual([
      'finetunes.create',
      'finetunes.pause',
      'finetunes.resume',
      'finetunes.pause',
      'finetunes.cancel',
    ]);
  });

  it('is retried once it has failed, with the checkpoint that it kept', async () => {
    const { tenant, key, id, status } = await queued();
    expect(await status('finetunes.retry')).toBe('conflict');
    await failFinetune(api.db.worker, tenant, id);
    expect(await api.must('finetunes.retry', key, { id })).toMatchObject({
      status: 'queued',
      error: null,
      finished_at: null,
      checkpoint: { step: 7 },
    });
    expect(await status('finetunes.retry')).toBe('conflict');
  });

  it('is a draft until it is started, and takes no place until then', async () => {
    const { tenant, key, dataset, status } = await queued();
    const limit = { id: tenant, name: 'concurrent_jobs' as const, value: 1 };
    await api.must('tenants.limit', PLATFORM_KEY, limit);
    const input = { name: 'f', dataset_id: dataset, options: {}, start: false };
    const draft = await api.must('finetunes.create', key, input);
    expect(draft).toMatchObject({ status: 'draft', attempt: 0 });
    expect(draft.estimate).not.toBeNull();
    const start = () => api.call('finetunes.start', key, { id: draft.id });
    expect(await start()).toMatchObject({
      status: 429,
      problem: { code: 'quota_exceeded', limit: 'concurrent_jobs' },
    });
    expect(await status('finetunes.cancel')).toBe('cancelled');
    expect((await start()).ok).toMatchObject({ id: draft.id, status: 'queued' });
    expect((await start()).problem).toMatchObject({ code: 'conflict', field: 'id' });
    await api.must('tenants.limit', PLATFORM_KEY, { ...limit, value: 9 });
    const other = await api.must('finetunes.create', key, input);
    for (const verb of ['finetunes.pause', 'finetunes.resume', 'finetunes.retry'] as const) {
      expect((await api.call(verb, key, { id: other.id })).problem?.code).toBe('conflict');
    }
    expect((await api.must('finetunes.cancel', key, { id: other.id })).status).toBe('cancelled');
    expect((await api.call('finetunes.start', key, { id: other.id })).problem?.code).toBe(
      'conflict',
    );
  });

  it('waits for sets that are being validated, and says which one ended it', async () => {
    const { tenant, key, embodiment, dataset } = await queued();
    const files = [fileOf('a', Buffer.alloc(1))];
    const set = { name: 'd', embodiment_id: embodiment, files };
    const { dataset: fresh } = await api.must('datasets.create', key, set);
    const input = { name: 'f', dataset_id: dataset, added_dataset_ids: [fresh.id], options: {} };
    const early = await api.call('finetunes.create', key, input);
    expect(early.problem).toMatchObject({
      code: 'incomplete_upload',
      field: 'added_dataset_ids[0]',
    });
    await markDataset(api.db.worker, tenant, fresh.id, 'validating');
    const job = await api.must('finetunes.create', key, input);
    expect(job).toMatchObject({ status: 'validating', added_dataset_ids: [fresh.id] });
    const cancelled = await api.must('finetunes.create', key, input);
    await api.must('finetunes.cancel', key, { id: cancelled.id });
    await markDataset(api.db.worker, tenant, fresh.id, 'rejected');
    const ended = await api.must('finetunes.get', key, { id: job.id });
    expect(ended).toMatchObject({
      status: 'user_error',
      error: { code: 'invalid_dataset', field: 'added_dataset_ids', fix: expect.any(String) },
    });
    expect(ended.finished_at).not.toBeNull();
    const retry = () => api.call('finetunes.retry', key, { id: job.id });
    expect((await retry()).problem).toMatchObject({ code: 'invalid_dataset' });
    await api.must('datasets.accept', key, { id: fresh.id, without_episodes: [0] });
    expect((await retry()).ok).toMatchObject({ status: 'validating', error: null });
    await markReady(api.db.worker, tenant, fresh.id);
    const status = async (id: string) => (await api.must('finetunes.get', key, { id })).status;
    expect(await status(job.id)).toBe('queued');
    expect(await status(cancelled.id)).toBe('cancelled');
  });

  it('gives its figures as series: by name, thinned, by pages, each step as it was done last', async () => {
    const { tenant, key, id } = await queued();
    const line = (step: number, loss: number) => ({
      kind: 'metrics' as const,
      message: `step ${step}`,
      data: { step, steps: 100, loss, action_loss: loss / 2, eta_s: 100 - step },
    });
    const steps = (from: number, to: number, loss: (step: number) => number) =>
      Array.from({ length: to - from + 1 }, (_, i) => line(from + i, loss(from + i)));
    await withTenant(api.db.worker, tenant, async (tx) => {
      // A worker is lost after step 60, with a checkpoint of step 40.
      await appendEvents(
        tx,
        id,
        steps(1, 60, () => 9),
      );
      await appendEvents(tx, id, [{ kind: 'message', message: 'goes on from step 40' }]);
      await appendEvents(
        tx,
        id,
        steps(41, 100, (step) => step),
      );
    });
    const all = await api.must('finetunes.metrics', key, { id });
    expect(all.next_after).toBeNull();
    expect(all.items.map(({ step, value }) => [step, value])).toEqual(
      Array.from({ length: 100 }, (_, i) => [i + 1, i < 40 ? 9 : i + 1]),
    );
    const paged = [];
    for (let after: number | null = 0; after !== null;) {
      const input = { id, name: 'action_loss' as const, every: 10, after, limit: 3 };
      const page: RouteOutput<'finetunes.metrics'> = await api.must(
        'finetunes.metrics',
        key,
        input,
      );
      expect(page.items.length).toBeLessThanOrEqual(3);
      paged.push(...page.items);
      after = page.next_after;
    }
    expect(paged.map(({ step, value, min, max, lines }) => [step, value, min, max, lines])).toEqual(
      Array.from({ length: 10 }, (_, i) => {
        const last = (i + 1) * 10;
        if (last <= 40) return [last, 4.5, 4.5, 4.5, 10];
        return [last, (last - 4.5) / 2, (last - 9) / 2, last / 2, 10];
      }),
    );
    const none = await api.must('finetunes.metrics', key, { id, name: 'samples_per_s' });
    expect(none).toEqual({ items: [], next_after: null });
    expect((await api.must('finetunes.metrics', key, { id, after: 100 })).items).toEqual([]);
  });

  it('lists the checkpoint that is durable', async () => {
    const { tenant, key, id } = await queued();
    const list = () => api.must('finetunes.checkpoints', key, { id });
    expect(await list()).toEqual({ items: [] });
    const sha256 = 'a'.repeat(64);
    await withTenant(api.db.worker, tenant, async (tx) => {
      const checkpoint = { key: 'k', step: 7, sha256, bytes: 123 };
      await tx.update(finetunes).set({ checkpoint }).where(eq(finetunes.id, id));
      const event = { kind: 'checkpoint' as const, message: 'c' };
      await appendEvents(
        tx,
        id,
        [5, 7].map((step) => ({ ...event, data: { step } })),
      );
    });
    const { items: events } = await api.must('finetunes.events', key, { id });
    expect(await list()).toEqual({
      items: [{ step: 7, bytes: 123, sha256, at: events.at(-1)?.at }],
    });
  });

  it('trains on several sets of one embodiment, each named once', async () => {
    const { tenant, key, embodiment, dataset } = await queued();
    const files = [fileOf('a', Buffer.alloc(1))];
    const ready = async (embodiment_id: string): Promise<string> => {
      const made = await api.must('datasets.create', key, { name: 'd', embodiment_id, files });
      await markReady(api.db.worker, tenant, made.dataset.id);
      return made.dataset.id;
    };
    const second = await ready(embodiment);
    const apart = await ready((await api.must('embodiments.create', key, { spec: armSpec })).id);
    const create = (added: readonly string[], heldout?: string) =>
      api.call('finetunes.create', key, {
        name: 'f',
        dataset_id: dataset,
        added_dataset_ids: [...added],
        ...(heldout === undefined ? {} : { heldout_dataset_id: heldout }),
        options: {},
      });
    const refused = [
      [await create([dataset]), 'invalid_request', 'added_dataset_ids[0]'],
      [await create([second, second]), 'invalid_request', 'added_dataset_ids[1]'],
      [await create([second, apart]), 'embodiment_mismatch', 'added_dataset_ids[1]'],
      [await create([second], second), 'invalid_request', 'heldout_dataset_id'],
      [await create([second], dataset), 'invalid_request', 'heldout_dataset_id'],
    ] as const;
    for (const [{ problem }, code, field] of refused)
      expect(problem).toMatchObject({ code, field });
    expect((await create([second])).ok?.added_dataset_ids).toEqual([second]);
  });

  it('goes on from a version of its own tenant and embodiment, in a mode that keeps it', async () => {
    const [mine, other] = [await queued(), await queued()];
    const { key, tenant, embodiment, dataset } = mine;
    const own = await addPolicyVersion(api.db.worker, tenant, embodiment);
    const foreign = await addPolicyVersion(api.db.worker, other.tenant, other.embodiment);
    const { id: arm } = await api.must('embodiments.create', key, { spec: armSpec });
    const apart = await addPolicyVersion(api.db.worker, tenant, arm);
    const wide = await addPolicyVersion(api.db.worker, tenant, embodiment, { mode: 'full' });
    const create = (base: string, options: object = {}) =>
      api.call('finetunes.create', key, {
        name: 'g',
        dataset_id: dataset,
        options: { ...options, base_policy_version_id: base },
      });
    const field = 'options.base_policy_version_id';
    const refused = [
      [await create(foreign), { code: 'not_found', field }],
      [await create('pv_00000000000000000000000000'), { code: 'not_found', field }],
      [await create(apart), { code: 'embodiment_mismatch', field }],
      [await create(wide, { mode: 'policy' }), { code: 'invalid_request', field: 'options.mode' }],
    ] as const;
    for (const [answer, problem] of refused) expect(answer.problem).toMatchObject(problem);
    expect((await create(wide, { mode: 'full' })).ok?.options.base_policy_version_id).toBe(wide);
    expect((await create(own)).ok?.options.base_policy_version_id).toBe(own);
  });
});

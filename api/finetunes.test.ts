import { claimJob, settle, withTenant } from '@armature/db';
import type { RouteName } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../test/support/api.ts';
import { armSpec, fileOf } from '../test/support/robots.ts';
import { addPolicyVersion, failFinetune, markReady } from '../test/support/rows.ts';

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
    const claim = () =>
      claimJob(api.db.worker, { kinds: ['finetune'], owner: 'w', leaseMs: 60_000 });
    expect(await status('finetunes.resume')).toBe('conflict');
    expect(await status('finetunes.pause')).toBe('paused');
    expect(await status('finetunes.pause')).toBe('paused');
    expect(await claim()).toBeNull();
    expect(await status('finetunes.resume')).toBe('queued');
    const job = await claim();
    if (job === null) throw new Error('nothing was claimed');
    expect(await status('finetunes.pause')).toBe('pausing');
    await withTenant(api.db.worker, tenant, (tx) => settle(tx, job, { status: 'paused' }));
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

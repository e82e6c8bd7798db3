import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { claimJob, eq, finetunes, jobEvents, policyVersions, withTenant } from '@armature/db';
import {
  baseWeightsUrl,
  loadBase,
  manifestDigest,
  readManifest,
  sha256,
} from '@armature/policy/checkpoint';
import { PREPROCESS_HASH } from '@armature/policy/data';
import { evaluationSchema } from '@armature/sdk/contract';
import { DiskStore } from '@armature/storage';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestPostgres, type TestPostgres } from '../../test/support/postgres.ts';
import { smallRecording, smallSpec, writeSmallDataset } from '../../test/support/small-dataset.ts';
import { queueFinetune } from '../../test/support/train.ts';
import { codeVersion } from './code-version.ts';
import { runFinetune } from './job/run.ts';
import { openPolicyWorkshop } from './policy/workshop.ts';

let server: TestPostgres;
let folder: string;
const sets: { directory: string; remove: () => Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'armature-real-'));
  server = await startTestPostgres();
  sets.push(await writeSmallDataset(smallRecording(2, 20)));
  sets.push(await writeSmallDataset(smallRecording(1, 9)));
});
afterAll(async () => {
  await server.stop();
  for (const set of sets) await set.remove();
  await rm(folder, { recursive: true });
});

it.each([
  ['head', 'float32'],
  ['policy', 'int8'],
  ['lora', 'float32'],
] as const)(
  'makes a version of mode %s (frozen layers in %s) that can be loaded, with an evaluation',
  async (mode, form) => {
    const { app, worker } = await server.database();
    const store = new DiskStore({
      kind: 'disk',
      root: join(folder, mode),
      publicUrl: 'http://localhost',
      secret: 'x'.repeat(32),
    });
    const [training, heldout] = sets.map(({ directory }) => directory);
    if (training === undefined || heldout === undefined) throw new Error('the sets are missing');
    const queued = await queueFinetune({
      app,
      store,
      spec: smallSpec,
      training,
      heldout,
      options: { mode, steps: 3, batch_size: 4, reference: 'absolute', frozen_weights: form },
    });
    const job = await claimJob(worker, { kind: 'finetune', owner: 'test', leaseMs: 120_000 });
    if (job === null) throw new Error('there is no job to claim');
    const base = loadBase(await readFile(baseWeightsUrl('nano')));
    await runFinetune(
      job,
      performance.now(),
      {
        db: worker,
        store,
        log: pino({ level: 'silent' }),
        nowMs: () => performance.now(),
        openWorkshop: () => openPolicyWorkshop({ base, threads: 2, executionProvider: 'cpu' }),
        vision: null,
        cacheDir: join(folder, 'cache'),
        threads: 2,
        beatMs: 1_000,
        checkpointEveryS: 30,
        code: await codeVersion(null),
      },
      new AbortController().signal,
    );
    const { finetune, version, events } = await withTenant(app, queued.tenantId, async (tx) => {
      const [row] = await tx.select().from(finetunes).where(eq(finetunes.id, queued.finetuneId));
      const [made] = await tx.select().from(policyVersions);
      const told = await tx.select().from(jobEvents).orderBy(jobEvents.seq);
      return { finetune: row, version: made, events: told };
    });
    expect(finetune).toMatchObject({ status: 'succeeded', error: null });
    const told = events.filter(({ message }) => message.includes('computed once'));
    expect(told).toHaveLength(mode === 'lora' ? 0 : 1);
    if (mode !== 'lora') {
      // Frames of both episodes; three steps of four rows.
      expect(told[0]?.data).toMatchObject({ passes: 40, reads: 12, passes_saved: 0 });
    }
    const rounded = events.filter(({ message }) => message.startsWith('frozen layers in int8: '));
    expect(rounded).toHaveLength(form === 'int8' ? 1 : 0);
    if (version === undefined) throw new Error('there is no version');

    const manifest = readManifest(await store.get(`${version.prefix}manifest.json`));
    expect(manifestDigest(manifest)).toBe(version.digest);
    expect(manifest).toMatchObject({
      mode,
      labels: 'joints',
      preprocess_hash: PREPROCESS_HASH,
      provenance: {
        data: [{ episodes: 2, frames: 40 }],
        code: await codeVersion(null),
        heldout: { data: { episodes: 1, frames: 9 }, chunks: 9 },
      },
      spec: { references: { arm: 'absolute', hand: 'absolute' } },
    });
    expect(manifest.frozen_weights).toBe(form === 'float32' ? undefined : form);
    const own = { head: [], policy: ['trunk.safetensors'], lora: ['lora.safetensors'] }[mode];
    expect(Object.keys(manifest.files)).toEqual(['head.safetensors', ...own]);
    for (const [name, { sha256: hash }] of Object.entries(manifest.files)) {
      expect(sha256(await store.get(version.prefix + name))).toBe(hash);
    }
    const evaluation = evaluationSchema.parse(finetune?.evaluation);
    expect(evaluation).toMatchObject({ reference: 'absolute', chunks: 9, episodes_used: 2 });
    expect(evaluation.served).toMatchObject(manifest.sampler);
    // Eight samples of an untrained policy, averaged, are nearer than one of them.
    expect(evaluation.mean8.mse).toBeLessThan(evaluation.sample.mse);
  },
);

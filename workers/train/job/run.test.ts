import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import {
  asc,
  cancelJob,
  claimJob,
  enqueue,
  eq,
  finetunes,
  jobEvents,
  jobs,
  newId,
  pauseJob,
  policyVersions,
  resumeJob,
  trainingUsage,
  withTenant,
  type ClaimedJob,
  type JobSubject,
  type Tx,
} from '@armature/db';
import {
  evaluationSchema,
  finetuneOptionsSchema,
  trainSummarySchema,
  type FinetuneOptions,
  type FinetuneStatus,
} from '@armature/sdk/contract';
import { DiskStore, type ObjectStore } from '@armature/storage';
import { pino } from 'pino';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../../test/support/postgres.ts';
import {
  smallRecording,
  smallSpec,
  writeSmallDataset,
} from '../../../test/support/small-dataset.ts';
import { queueFinetune, toyWorkshop, type QueuedFinetune } from '../../../test/support/train.ts';
import { runFinetune } from './run.ts';
import type { JobServices } from './services.ts';
import type { Workshop } from './workshop.ts';

let server: TestPostgres;
let database: TestDatabase;
let folder: string;
let training: { directory: string; remove: () => Promise<void> };
let store: DiskStore;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'armature-train-'));
  [server, training] = await Promise.all([
    startTestPostgres(),
    writeSmallDataset(smallRecording(3, 20)),
  ]);
  store = new DiskStore({
    kind: 'disk',
    root: join(folder, 'store'),
    publicUrl: 'http://localhost',
    secret: 'x'.repeat(32),
  });
});
// A queue of its own for every test.
beforeEach(async () => {
  database = await server.database();
});
afterAll(async () => {
  await server.stop();
  await training.remove();
  await rm(folder, { recursive: true });
});

function services(workshop: Workshop, over: Partial<JobServices> = {}): JobServices {
  return {
    db: database.worker,
    store,
    log: pino({ level: 'silent' }),
    nowMs: () => performance.now(),
    openWorkshop: () => Promise.resolve(workshop),
    vision: null,
    cacheDir: join(folder, 'cache'),
    threads: 1,
    beatMs: 100,
    checkpointEveryS: 10,
    code: { version: '1.2.3', build: 'test' },
    ...over,
  };
}

function queue(options: Partial<FinetuneOptions> = {}): Promise<QueuedFinetune> {
  return queueFinetune({
    app: database.app,
    store,
    spec: smallSpec,
    training: training.directory,
    heldout: training.directory,
    options: { steps: 40, images: 'blank', ...options },
  });
}

async function claim(leaseMs = 60_000): Promise<ClaimedJob> {
  const job = await claimJob(database.worker, { kind: 'finetune', owner: 'test', leaseMs });
  if (job === null) throw new Error('there is no job to claim');
  return job;
}

async function run(
  workshop: Workshop,
  over: Partial<JobServices> = {},
  stop = new AbortController().signal,
): Promise<void> {
  await runFinetune(await claim(), performance.now(), services(workshop, over), stop);
}

async function look(queued: QueuedFinetune) {
  return withTenant(database.app, queued.tenantId, async (tx) => {
    const [finetune] = await tx.select().from(finetunes).where(eq(finetunes.id, queued.finetuneId));
    const [job] = await tx.select().from(jobs).where(eq(jobs.id, queued.jobId));
    const events = await tx
      .select()
      .from(jobEvents)
      .where(eq(jobEvents.subjectId, queued.finetuneId))
      .orderBy(asc(jobEvents.seq));
    const versions = await tx.select().from(policyVersions);
    return { finetune, job, events, versions };
  });
}

/** What was metered of its attempts. */
const usageOf = (queued: QueuedFinetune) =>
  withTenant(database.app, queued.tenantId, (tx) =>
    tx.select().from(trainingUsage).orderBy(asc(trainingUsage.id)),
  );

async function keys(queued: QueuedFinetune, below: 'finetunes' | 'policies'): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list(`tenants/${queued.tenantId}/${below}/`)) found.push(key);
  return found;
}

/** What the API does with a fine-tune and its job, in one transaction. */
function ask(
  { tenantId, finetuneId }: QueuedFinetune,
  status: FinetuneStatus,
  change: (tx: Tx, job: JobSubject) => Promise<unknown>,
): Promise<void> {
  return withTenant(database.app, tenantId, async (tx) => {
    await change(tx, { tenantId, kind: 'finetune', subjectId: finetuneId });
    await tx.update(finetunes).set({ status }).where(eq(finetunes.id, finetuneId));
  });
}

/** Digest of the version that the toy makes of these options without any trouble. */
async function undisturbedDigest(): Promise<string> {
  const queued = await queue();
  await run(toyWorkshop());
  return (await look(queued)).versions[0]?.digest ?? '';
}

describe('runFinetune', () => {
  it('goes from data to a registered version and leaves nothing else behind', async () => {
    const queued = await queue({ images: 'use', prefix_delay_max: 3 });
    await run(toyWorkshop({ stepMs: 5 }));
    const { finetune, job, events, versions } = await look(queued);
    expect(finetune).toMatchObject({
      status: 'succeeded',
      progress: 1,
      checkpoint: null,
      error: null,
    });
    expect(finetune?.finishedAt).toBeInstanceOf(Date);
    expect(job).toMatchObject({ status: 'succeeded', leaseOwner: null });
    expect(trainSummarySchema.parse(finetune?.train)).toMatchObject({ mode: 'head', steps: 40 });
    const evaluation = evaluationSchema.parse(finetune?.evaluation);
    expect(evaluation).toMatchObject({
      reference: 'arm: state, hand: absolute',
      chunks: 60,
      served: { steps: 4, noise_scale: 0.5 },
    });
    expect(versions).toHaveLength(1);
    expect(versions[0]).toMatchObject({
      id: finetune?.policyVersionId,
      finetuneId: queued.finetuneId,
      name: 'first',
      prefixDelayMax: 3,
      sampler: { steps: 4, noise_scale: 0.5 },
      prefix: `tenants/${queued.tenantId}/policies/${versions[0]?.digest ?? ''}-${queued.finetuneId}/`,
      preprocessHash: 'toy/1',
      code: { version: '1.2.3', build: 'test' },
    });
    const data = {
      digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      episodes: 3,
      frames: 60,
    };
    expect(versions[0]?.data).toEqual([{ ...data, dataset_id: finetune?.datasetId }]);
    const { served, mean8, hold } = evaluation;
    const heldout = { data, chunks: 60, served: { mse: served.mse, l1: served.l1 }, mean8, hold };
    expect(versions[0]?.heldout).toEqual(heldout);
    // The manifest says the same, but for ids, which are the tenant's.
    const manifest: unknown = JSON.parse(
      new TextDecoder().decode(await store.get(`${versions[0]?.prefix ?? ''}manifest.json`)),
    );
    expect(manifest).toMatchObject({
      provenance: { data: [data], code: { version: '1.2.3', build: 'test' }, heldout },
    });
    const prefix = versions[0]?.prefix ?? '';
    expect(await keys(queued, 'policies')).toEqual([
      `${prefix}head.safetensors`,
      `${prefix}manifest.json`,
    ]);
    expect(await keys(queued, 'finetunes')).toEqual([]);

    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
    const statuses = events.filter(({ kind }) => kind === 'status').map(({ message }) => message);
    expect(statuses.map((message) => message.split(/[ :]/)[0])).toEqual([
      'running',
      'running',
      'evaluating',
      'packaging',
      'succeeded',
    ]);
    const told = events.filter(({ message }) => message.includes('computed once'));
    expect(told).toHaveLength(1);
    expect(told[0]?.data).toMatchObject({ passes: 2, reads: 10, passes_saved: 8 });
    expect(events.filter(({ kind }) => kind === 'checkpoint').at(-1)?.data).toMatchObject({
      step: 40,
    });
    expect(finetune?.etaAt).toBeNull();
    const used = await usageOf(queued);
    expect(used).toMatchObject([{ id: `${queued.jobId}:1`, finetuneId: queued.finetuneId }]);
    // Forty steps of five milliseconds.
    expect(used[0]?.computeUs).toBeGreaterThan(200_000);
    const metrics = events.find(({ kind }) => kind === 'metrics');
    expect(Object.keys(metrics?.data ?? {}).sort()).toEqual([
      'action_loss',
      'eta_s',
      'loss',
      'reasoning_loss',
      'samples_per_s',
      'step',
      'steps',
    ]);
  });

  it('starts from the version that its options name, whose objects are as its digest says', async () => {
    const first = await queue();
    await run(toyWorkshop());
    const [version] = (await look(first)).versions;
    if (version === undefined) throw new Error('there is no version');
    const add = async (): Promise<QueuedFinetune> => ({
      ...first,
      ...(await withTenant(database.app, first.tenantId, async (tx) => {
        const [row] = await tx.select().from(finetunes).where(eq(finetunes.id, first.finetuneId));
        if (row === undefined) throw new Error('there is no fine-tune');
        const finetuneId = newId('ft');
        await tx.insert(finetunes).values({
          tenantId: row.tenantId,
          id: finetuneId,
          name: 'second',
          embodimentId: row.embodimentId,
          datasetId: row.datasetId,
          status: 'queued',
          options: finetuneOptionsSchema.parse({
            ...(row.options as object),
            base_policy_version_id: version.id,
          }),
        });
        const jobId = await enqueue(tx, {
          tenantId: first.tenantId,
          kind: 'finetune',
          subjectId: finetuneId,
        });
        return { finetuneId, jobId };
      })),
    });
    const second = await add();
    await run(toyWorkshop());
    const after = await look(second);
    expect(after.finetune).toMatchObject({ status: 'succeeded' });
    expect(new Set(after.versions.map(({ digest }) => digest)).size).toBe(2);

    await store.put(`${version.prefix}head.safetensors`, Uint8Array.of(0));
    const third = await add();
    await run(toyWorkshop());
    // Ours to mend: another attempt follows, and nothing was trained from other bytes.
    expect(await look(third)).toMatchObject({ job: { status: 'queued', attempt: 1 } });
  });

  it('shows a checkpoint once the store has it, with its size and digest', async () => {
    const queued = await queue();
    const seen: { step: number | undefined; stored: number }[] = [];
    const holding = new Proxy(store, {
      get(target, property) {
        if (property === 'put') {
          return async (key: string, bytes: Uint8Array) => {
            const { finetune } = await look(queued);
            // Labels are put too.
            if (key.includes('/finetunes/')) {
              seen.push({
                step: finetune?.checkpoint?.step,
                stored: (await keys(queued, 'finetunes')).length,
              });
            }
            return target.put(key, bytes);
          };
        }
        const value: unknown = Reflect.get(target, property);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    }) as ObjectStore;
    const stop = new AbortController();
    const onStep = (step: number): void => {
      if (step === 3) stop.abort();
    };
    await run(toyWorkshop({ onStep }), { store: holding, checkpointEveryS: 0 }, stop.signal);
    // Before each put the row points at the one before, of which there is one object.
    expect(seen).toEqual([
      { step: undefined, stored: 0 },
      { step: 1, stored: 1 },
      { step: 2, stored: 1 },
    ]);
    const { finetune, events } = await look(queued);
    const [key] = await keys(queued, 'finetunes');
    const bytes = await store.get(key ?? '');
    expect(finetune?.checkpoint).toMatchObject({ key, step: 3, bytes: bytes.length });
    expect(finetune?.checkpoint?.sha256).toBe((await store.head(key ?? ''))?.sha256);
    const last = events.filter(({ kind }) => kind === 'checkpoint').at(-1);
    expect(last?.data).toEqual({ step: 3, bytes: bytes.length });
  });

  it('expects its end by what a step takes, and what follows the steps', async () => {
    const queued = await queue({ steps: 20 });
    let clockMs = 0;
    const expected: number[] = [];
    // Every step takes ten seconds of the job's clock.
    await runFinetune(
      await claim(10_000_000),
      0,
      services(
        toyWorkshop({
          onStep: async (step) => {
            clockMs += 10_000;
            if (step === 1) return;
            const { finetune, events } = await look(queued);
            const line = events.filter(({ kind }) => kind === 'metrics').at(-1);
            expected.push(
              ((finetune?.etaAt?.getTime() ?? NaN) - (line?.at.getTime() ?? NaN)) / 1000,
            );
          },
        }),
        { nowMs: () => clockMs },
      ),
      new AbortController().signal,
    );
    const { events, finetune } = await look(queued);
    const lines = events.filter(({ kind }) => kind === 'metrics').map(({ data }) => data);
    expect(lines.map(({ step, eta_s }) => [step, eta_s])).toEqual(
      Array.from({ length: 20 }, (_, i) => [i + 1, (19 - i) * 10]),
    );
    // Evaluation and packaging are taken to last 0.2 of the job, its steps 0.55.
    const after = (200 * 0.2) / 0.55;
    expected.forEach((seconds, i) => {
      expect(Math.abs(seconds - ((19 - i) * 10 + after))).toBeLessThan(5);
    });
    expect(expected).toHaveLength(19);
    expect(finetune?.etaAt).toBeNull();
  });

  it('goes on from an earlier version with the episodes of both sets', async () => {
    const first = await queue({ images: 'use' });
    await run(toyWorkshop());
    const [version] = (await look(first)).versions;
    const more = await writeSmallDataset(smallRecording(2, 15));
    const second = await queueFinetune({
      app: database.app,
      store,
      spec: smallSpec,
      training: training.directory,
      added: [more.directory],
      options: { steps: 4, images: 'use', base_policy_version_id: version?.id ?? '' },
      of: first,
    });
    const seen: { index: number; length: number; pictures: boolean }[] = [];
    const toy = toyWorkshop();
    await run({
      ...toy,
      train: (o) => {
        expect(o.from?.digest).toBe(version?.digest);
        for (const { index, length, image } of o.episodes) {
          seen.push({ index, length, pictures: image('top', length - 1).some((x) => x !== 0) });
        }
        return toy.train(o);
      },
    });
    await more.remove();
    const lengths = [20, 20, 20, 15, 15];
    expect(seen).toEqual(lengths.map((length, index) => ({ index, length, pictures: true })));
    const { finetune, events } = await look(second);
    expect(finetune).toMatchObject({ status: 'succeeded', error: null });
    expect(events.map(({ message }) => message)).toContain(
      'running: training on 5 episodes, 90 frames',
    );

    // The first four episodes are three of the one and one of the other.
    await queueFinetune({
      app: database.app,
      store,
      spec: smallSpec,
      training: training.directory,
      added: [training.directory],
      options: { steps: 4, images: 'blank', max_episodes: 4 },
    });
    const counts: number[] = [];
    await run({ ...toy, train: (o) => (counts.push(o.episodes.length), toy.train(o)) });
    expect(counts).toEqual([4]);
  });

  it('goes on from the checkpoint when the worker stopped, to the same version', async () => {
    const wanted = await undisturbedDigest();
    const queued = await queue();
    const stop = new AbortController();
    await run(
      toyWorkshop({
        stepMs: 5,
        onStep: (step) => {
          if (step === 23) stop.abort();
        },
      }),
      {},
      stop.signal,
    );
    const between = await look(queued);
    expect(between.job).toMatchObject({ status: 'queued', attempt: 1 });
    expect(between.finetune).toMatchObject({ status: 'queued', checkpoint: { step: 23 } });
    expect(await keys(queued, 'finetunes')).toHaveLength(1);

    const steps: number[] = [];
    await run(toyWorkshop({ onStep: (step) => void steps.push(step) }));
    const after = await look(queued);
    expect(steps[0]).toBe(24);
    expect(after.versions[0]?.digest).toBe(wanted);
    expect(trainSummarySchema.parse(after.finetune?.train)).toMatchObject({ steps: 40 });
    expect((await usageOf(queued)).map(({ id }) => id)).toEqual([
      `${queued.jobId}:1`,
      `${queued.jobId}:2`,
    ]);
    expect(
      after.events.some(
        ({ kind, message }) =>
          kind === 'message' && message === 'attempt 2 goes on from the checkpoint at step 23',
      ),
    ).toBe(true);
    expect(await keys(queued, 'finetunes')).toEqual([]);
  });

  it('begins again, and says so, when the checkpoint is not what was recorded', async () => {
    const wanted = await undisturbedDigest();
    const queued = await queue();
    const stop = new AbortController();
    const onStep = (step: number): void => {
      if (step === 10) stop.abort();
    };
    await run(toyWorkshop({ onStep }), {}, stop.signal);
    const [key] = await keys(queued, 'finetunes');
    await store.put(key ?? '', Uint8Array.of(1, 2, 3));
    await run(toyWorkshop());
    const { events, versions } = await look(queued);
    expect(events.some(({ kind }) => kind === 'warning')).toBe(true);
    expect(versions[0]?.digest).toBe(wanted);
  });

  it('stops within a step of a cancellation and removes what it made', async () => {
    const queued = await queue({ steps: 100_000 });
    let cancelledAt = 0;
    let last = 0;
    await run(
      toyWorkshop({
        stepMs: 2,
        onStep: async (step) => {
          last = step;
          if (step !== 60) return;
          await ask(queued, 'cancelling', cancelJob);
          cancelledAt = performance.now();
        },
      }),
    );
    expect(performance.now() - cancelledAt).toBeLessThan(10_000);
    expect(last).toBeLessThan(5_000);
    const { finetune, job, events, versions } = await look(queued);
    expect(finetune).toMatchObject({
      status: 'cancelled',
      checkpoint: null,
      policyVersionId: null,
    });
    expect(job?.status).toBe('cancelled');
    expect(events.at(-1)).toMatchObject({ kind: 'status', message: 'cancelled' });
    expect(versions).toEqual([]);
    expect(await keys(queued, 'finetunes')).toEqual([]);
    expect(await keys(queued, 'policies')).toEqual([]);
  });

  it('writes nothing once another worker has the job', async () => {
    const wanted = await undisturbedDigest();
    const queued = await queue();
    const admin = postgres(database.adminUrl, { max: 1 });
    let successor: Promise<void> | null = null;
    // The first worker hangs in a step; its lease ends, a successor finishes; then it wakes up.
    await run(
      toyWorkshop({
        onStep: async (step) => {
          if (step !== 12) return;
          await admin`update jobs set lease_until = now() - interval '1 second' where id = ${queued.jobId}`;
          successor = run(toyWorkshop());
          await successor;
        },
      }),
      { beatMs: 1_000_000 },
    );
    await admin.end();
    expect(successor).not.toBeNull();
    const { finetune, job, events, versions } = await look(queued);
    expect(finetune?.status).toBe('succeeded');
    expect(job).toMatchObject({ status: 'succeeded', attempt: 2 });
    expect(versions.map(({ digest }) => digest)).toEqual([wanted]);
    expect(events.at(-1)?.message).toContain('succeeded');
    expect(await keys(queued, 'policies')).toHaveLength(2);
  });

  it('fails with the field and the fix when the data does not fit, leaving nothing', async () => {
    const queued = await queueFinetune({
      app: database.app,
      store,
      spec: {
        ...smallSpec,
        action: [
          ...smallSpec.action,
          { name: 'wrist', unit: 'rad', group: 'hand', min: 0, max: 1 },
        ],
      },
      training: training.directory,
    });
    await run(toyWorkshop());
    const { finetune, job } = await look(queued);
    expect(finetune).toMatchObject({
      status: 'user_error',
      error: {
        code: 'embodiment_mismatch',
        field: 'dataset_id',
        message: expect.stringContaining('3 dimensions of action, the embodiment 4'),
        fix: expect.any(String),
      },
    });
    expect(job?.status).toBe('failed');
  });

  it('saves a checkpoint when it is paused and goes on from it when resumed, to the same version', async () => {
    const wanted = await undisturbedDigest();
    const queued = await queue();
    const pause = () => ask(queued, 'pausing', pauseJob);
    await run(
      toyWorkshop({
        stepMs: 20,
        onStep: async (step) => {
          if (step === 9) await pause();
        },
      }),
    );
    const between = await look(queued);
    expect(between.job).toMatchObject({ status: 'paused', attempt: 1 });
    expect(between.finetune).toMatchObject({ status: 'paused', etaAt: null });
    const saved = between.finetune?.checkpoint?.step ?? 0;
    expect(saved).toBeGreaterThanOrEqual(9);
    expect(saved).toBeLessThan(40);
    expect(await keys(queued, 'finetunes')).toHaveLength(1);

    await ask(queued, 'queued', resumeJob);
    const steps: number[] = [];
    await run(toyWorkshop({ onStep: (step) => void steps.push(step) }));
    expect(steps[0]).toBe(saved + 1);
    expect((await look(queued)).versions[0]?.digest).toBe(wanted);
  });

  it('goes on from its checkpoint when it is retried after failures of ours', async () => {
    const wanted = await undisturbedDigest();
    const queued = await queue();
    const failing = toyWorkshop({
      onStep: (step) => {
        if (step === 20) throw new Error('the engine broke');
      },
      stepMs: 2,
    });
    const admin = postgres(database.adminUrl, { max: 1 });
    for (let attempt = 1; attempt <= 5; attempt++) {
      // A checkpoint after every step.
      await run(failing, { checkpointEveryS: 0 });
      await admin`update jobs set run_at = now() where id = ${queued.jobId}`;
    }
    await admin.end();
    const failed = await look(queued);
    expect(failed.job).toMatchObject({ status: 'failed', attempt: 5 });
    expect(failed.finetune?.checkpoint).toMatchObject({ step: 19 });
    await ask(queued, 'queued', enqueue);
    const steps: number[] = [];
    await run(toyWorkshop({ onStep: (step) => void steps.push(step) }));
    expect(steps[0]).toBe(20);
    const { finetune, versions } = await look(queued);
    expect(finetune).toMatchObject({ status: 'succeeded', checkpoint: null, error: null });
    expect(versions[0]?.digest).toBe(wanted);
    expect(await keys(queued, 'finetunes')).toEqual([]);
  });

  it('refuses to train on one episode, and makes a fresh head of it without training', async () => {
    const refused = await queue({ max_episodes: 1 });
    await run(toyWorkshop());
    const ended = (await look(refused)).finetune;
    expect(ended?.status).toBe('user_error');
    expect(ended?.error).toMatchObject({
      code: 'invalid_dataset',
      field: 'options.max_episodes',
    });
    const fresh = await queue({ max_episodes: 1, steps: 0 });
    await run(toyWorkshop());
    const { finetune, versions } = await look(fresh);
    expect(finetune).toMatchObject({ status: 'succeeded', train: null, evaluation: null });
    expect(versions).toHaveLength(1);
  });

  it('tries again after a failure of its own, and tells no secrets when it gives up', async () => {
    const queued = await queue();
    const broken: Workshop = {
      ...toyWorkshop(),
      train: () => Promise.reject(new Error('password=hunter2')),
    };
    const admin = postgres(database.adminUrl, { max: 1 });
    for (let attempt = 1; attempt <= 5; attempt++) {
      await run(broken);
      const { job } = await look(queued);
      expect(job).toMatchObject({ status: attempt < 5 ? 'queued' : 'failed', attempt });
      await admin`update jobs set run_at = now() where id = ${queued.jobId}`;
    }
    await admin.end();
    const { finetune, events } = await look(queued);
    expect(finetune).toMatchObject({ status: 'failed', error: { code: 'internal' } });
    expect(JSON.stringify([finetune, events])).not.toContain('hunter2');
  });

  it('takes neither stops nor pauses for failures of its own', async () => {
    const wanted = await undisturbedDigest();
    const queued = await queue();
    const stopped = AbortSignal.abort();
    for (let i = 0; i < 20; i++) await run(toyWorkshop(), {}, stopped);
    await ask(queued, 'paused', pauseJob);
    await ask(queued, 'queued', resumeJob);
    const pausing = (): Promise<void> => ask(queued, 'pausing', pauseJob);
    await run({ ...toyWorkshop(), train: (o) => pausing().then(() => toyWorkshop().train(o)) });
    await ask(queued, 'queued', resumeJob);
    const broken: Workshop = {
      ...toyWorkshop(),
      train: () => Promise.reject(new Error('the engine broke')),
    };
    const admin = postgres(database.adminUrl, { max: 1 });
    for (let failure = 1; failure < 5; failure++) {
      await run(broken);
      expect((await look(queued)).job).toMatchObject({ status: 'queued', attempt: 21 + failure });
      await admin`update jobs set run_at = now() where id = ${queued.jobId}`;
    }
    await admin.end();
    await run(toyWorkshop());
    const { finetune, versions } = await look(queued);
    expect(finetune).toMatchObject({ status: 'succeeded', error: null });
    expect(versions[0]?.digest).toBe(wanted);
  });

  it('fails for the workers that were lost over it, once they are twenty', async () => {
    const queued = await queue();
    const admin = postgres(database.adminUrl, { max: 1 });
    for (let lost = 0; lost < 20; lost++) {
      await claim();
      await admin`update jobs set lease_until = now() - interval '1 second' where id = ${queued.jobId}`;
      if (lost === 10) await run(toyWorkshop(), {}, AbortSignal.abort());
    }
    await admin.end();
    await run(toyWorkshop());
    expect((await look(queued)).finetune).toMatchObject({
      status: 'failed',
      error: { code: 'internal' },
    });
  });

  it('leaves no half version when the store fails while packaging', async () => {
    const wanted = await undisturbedDigest();
    const queued = await queue();
    const failing = new Proxy(store, {
      get(target, property) {
        if (property === 'put') {
          return (key: string, bytes: Uint8Array) =>
            key.endsWith('manifest.json')
              ? Promise.reject(new Error('disk full'))
              : target.put(key, bytes);
        }
        const value: unknown = Reflect.get(target, property);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    }) as ObjectStore;
    await run(toyWorkshop(), { store: failing });
    const between = await look(queued);
    expect(between.job?.status).toBe('queued');
    expect(between.versions).toEqual([]);
    expect(await keys(queued, 'policies')).toEqual([]);
    const admin = postgres(database.adminUrl, { max: 1 });
    await admin`update jobs set run_at = now() where id = ${queued.jobId}`;
    await admin.end();
    const steps: number[] = [];
    await run(toyWorkshop({ onStep: (step) => void steps.push(step) }));
    expect(steps).toEqual([]);
    expect((await look(queued)).versions[0]?.digest).toBe(wanted);
  });

  it('names the learning rate when training diverges', async () => {
    const queued = await queue();
    const toy = toyWorkshop();
    await run({
      ...toy,
      train: async (o) => {
        const trainer = await toy.train(o);
        return {
          ...trainer,
          totalSteps: 5,
          stepIndex: 0,
          step: () =>
            Promise.resolve({ step: 1, loss: NaN, actionLoss: NaN, reasoningLoss: 0, samples: 1 }),
        };
      },
    });
    expect((await look(queued)).finetune?.error).toMatchObject({
      code: 'invalid_request',
      field: 'options.learning_rate',
    });
  });
});

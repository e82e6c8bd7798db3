import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  datasets,
  embodiments,
  enqueue,
  finetunes,
  newId,
  tenants,
  withTenant,
  type Db,
} from '@armature/db';
import { featureStats } from '@armature/datasets';
import type { EmbodimentSpec, FinetuneOptions } from '@armature/sdk/contract';
import { finetuneOptionsSchema } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';
import type {
  Demonstration,
  TrainedVersion,
  Trainer,
  Workshop,
} from '../../workers/train/job/workshop.ts';

/** Puts a folder's files under a prefix, as an upload leaves them. */
export async function uploadFolder(
  store: ObjectStore,
  directory: string,
  prefix: string,
): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const key = prefix + path.slice(directory.length + 1);
    await store.put(key, new Uint8Array(await readFile(path)));
  }
}

export interface QueuedFinetune {
  readonly tenantId: string;
  readonly embodimentId: string;
  readonly finetuneId: string;
  readonly jobId: string;
}

async function addTenant(
  app: Db,
  spec: EmbodimentSpec,
): Promise<Pick<QueuedFinetune, 'tenantId' | 'embodimentId'>> {
  const tenantId = newId('ten');
  const embodimentId = newId('emb');
  await withTenant(app, tenantId, async (tx) => {
    await tx.insert(tenants).values({ id: tenantId, name: 'test' });
    await tx.insert(embodiments).values({ id: embodimentId, tenantId, spec });
  });
  return { tenantId, embodimentId };
}

/** A tenant of its own with an embodiment, ready data sets and one queued fine-tune. */
export async function queueFinetune(o: {
  readonly app: Db;
  readonly store: ObjectStore;
  readonly spec: EmbodimentSpec;
  /** Folder of the training set, and of the held-out one. */
  readonly training: string;
  readonly added?: readonly string[];
  readonly heldout?: string;
  readonly options?: Partial<FinetuneOptions>;
  /** Whose tenant and embodiment it is to have, in place of its own. */
  readonly of?: QueuedFinetune;
}): Promise<QueuedFinetune> {
  const { tenantId, embodimentId } = o.of ?? (await addTenant(o.app, o.spec));
  const addSet = async (directory: string): Promise<string> => {
    const id = newId('ds');
    const prefix = `tenants/${tenantId}/datasets/${id}/files/`;
    await uploadFolder(o.store, directory, prefix);
    await withTenant(o.app, tenantId, async (tx) => {
      await tx.insert(datasets).values({
        id,
        tenantId,
        embodimentId,
        name: 'set',
        status: 'ready',
        prefix,
        bytes: 1,
        files: 1,
      });
    });
    return id;
  };
  const datasetId = await addSet(o.training);
  const addedDatasetIds: string[] = [];
  for (const directory of o.added ?? []) addedDatasetIds.push(await addSet(directory));
  const heldoutDatasetId = o.heldout === undefined ? null : await addSet(o.heldout);
  const finetuneId = newId('ft');
  const jobId = await withTenant(o.app, tenantId, async (tx) => {
    await tx.insert(finetunes).values({
      id: finetuneId,
      tenantId,
      name: 'first',
      embodimentId,
      datasetId,
      addedDatasetIds,
      heldoutDatasetId,
      options: finetuneOptionsSchema.parse(o.options ?? {}),
      status: 'queued',
    });
    return enqueue(tx, { tenantId, kind: 'finetune', subjectId: finetuneId });
  });
  return { tenantId, embodimentId, finetuneId, jobId };
}

export interface ToyHooks {
  /** Awaited after each step, with its number. */
  readonly onStep?: (step: number) => Promise<void> | void;
  readonly stepMs?: number;
}

/**
 * A trainer whose only weight is a hash chain over the steps: any step lost, repeated or taken from
 * elsewhere gives another version. Its loss is 1 / step.
 */
export function toyWorkshop(hooks: ToyHooks = {}): Workshop {
  return {
    preprocessHash: 'toy/1',
    preprocessModule: new URL('../../policy/data/preprocess.ts', import.meta.url),
    imageSize: () => ({ width: 16, height: 16 }),
    train: (o) => {
      for (const done of [0, 2]) o.onProgress({ phase: 'features', done, total: 2, reads: 10 });
      const picture = o.episodes[0]?.image(o.spec.cameras[0]?.name ?? '', 0);
      const start = o.from === null ? '' : ` ${o.from.digest}`;
      const seed = `${o.options.seed} ${hash(picture ?? new Uint8Array(0))}${start}`;
      return Promise.resolve(toyTrainer(o.options, o.episodes, seed, o.resume, hooks));
    },
    sealed: (version, provenance) => {
      const manifest = { ...version.manifest, provenance };
      const bytes = new TextEncoder().encode(JSON.stringify(manifest));
      return { ...version, manifest, manifestBytes: bytes, digest: hash(bytes) };
    },
    predictor: ({ version, episodes }) =>
      Promise.resolve({
        predict: (queries) =>
          Promise.resolve(
            queries.map((q) => {
              const { names } = version.manifest.stats.action;
              const episode = episodes.find(({ index }) => index === q.episode);
              const held = episode?.action.subarray(q.t * names.length, (q.t + 1) * names.length);
              return q.seeds.map(() =>
                Float32Array.from(
                  { length: 8 * names.length },
                  (_, i) => (held?.[i % names.length] ?? NaN) + (q.blank ? 0.5 : 0.1),
                ),
              );
            }),
          ),
        close: () => Promise.resolve(),
      }),
    close: () => Promise.resolve(),
  };
}

function toyTrainer(
  options: FinetuneOptions,
  episodes: readonly Demonstration[],
  seed: string,
  resume: Uint8Array | null,
  hooks: ToyHooks,
): Trainer {
  let step = 0;
  let weight = hash(new TextEncoder().encode(seed));
  if (resume !== null) {
    const [savedStep, savedWeight] = new TextDecoder().decode(resume).split(' ');
    step = Number(savedStep);
    weight = savedWeight ?? '';
  }
  const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
  return {
    totalSteps: options.steps ?? 100,
    get stepIndex() {
      return step;
    },
    async step() {
      if (hooks.stepMs !== undefined) await sleep(hooks.stepMs);
      step += 1;
      weight = hash(encode(`${weight} ${step}`));
      await hooks.onStep?.(step);
      return { step, loss: 1 / step, actionLoss: 1 / step, reasoningLoss: 0, samples: 4 };
    },
    checkpoint: () => Promise.resolve(encode(`${step} ${weight}`)),
    finish: () => Promise.resolve(toyVersion(options, episodes, encode(weight))),
    close: () => Promise.resolve(),
  };
}

function toyVersion(
  options: FinetuneOptions,
  episodes: readonly Demonstration[],
  weights: Uint8Array,
): TrainedVersion {
  const stats = (key: 'state' | 'action') => {
    const width = (episodes[0]?.[key].length ?? 0) / (episodes[0]?.length ?? 1);
    return featureStats(
      Array.from({ length: width }, (_, i) => `${key}${i}`),
      episodes.map((episode) => episode[key]),
    );
  };
  const manifest = {
    mode: options.mode,
    sampler: { steps: 4, noise_scale: 0.5 },
    ...(options.prefix_delay_max === undefined
      ? {}
      : { prefix_delay_max: options.prefix_delay_max }),
    preprocess_hash: 'toy/1',
    stats_hash: 'stats',
    stats: { state: stats('state'), action: stats('action') },
    files: { 'head.safetensors': { sha256: hash(weights), size: weights.length } },
  };
  const manifestBytes = new TextEncoder().encode(JSON.stringify(manifest));
  return {
    digest: hash(manifestBytes),
    manifest,
    manifestBytes,
    files: { 'head.safetensors': weights },
  };
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

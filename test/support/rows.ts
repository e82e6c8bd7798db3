import { createHash, randomBytes, randomUUID } from 'node:crypto';
import {
  eq,
  datasets,
  finetunes,
  jobs,
  newId,
  policyVersions,
  reportServeWorker,
  sessions,
  webhookDeliveries,
  withTenant,
  writeRecords,
  type DatasetStatus,
  type Db,
  type WorkerRecord,
} from '@armature/db';
import type { FinetuneMode, FinetuneStatus } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';

/** What workers would have written, for suites that run no worker. */

export async function markReady(db: Db, tenant: string, datasetId: string): Promise<void> {
  await markDataset(db, tenant, datasetId, 'ready');
}

export async function markDataset(
  db: Db,
  tenant: string,
  datasetId: string,
  status: DatasetStatus,
): Promise<void> {
  await withTenant(db, tenant, async (tx) => {
    await tx.update(datasets).set({ status, progress: 1 }).where(eq(datasets.id, datasetId));
  });
}

/** Takes a fine-tune through states, one after another, as its worker would. */
export async function passFinetune(
  db: Db,
  tenant: string,
  finetuneId: string,
  ...through: readonly FinetuneStatus[]
): Promise<void> {
  await withTenant(db, tenant, async (tx) => {
    for (const status of through) {
      await tx.update(finetunes).set({ status }).where(eq(finetunes.id, finetuneId));
    }
  });
}

/** A fine-tune whose job has failed, with a checkpoint that it can be retried from. */
export async function failFinetune(db: Db, tenant: string, finetuneId: string): Promise<void> {
  await withTenant(db, tenant, async (tx) => {
    const ended = { finishedAt: new Date(), status: 'failed' as const };
    const checkpoint = { key: 'k', step: 7, sha256: '0'.repeat(64) };
    const error = { code: 'internal', message: 'm' };
    await tx.update(jobs).set(ended).where(eq(jobs.subjectId, finetuneId));
    const row = { ...ended, checkpoint, error };
    await tx.update(finetunes).set(row).where(eq(finetunes.id, finetuneId));
  });
}

export async function addPolicyVersion(
  db: Db,
  tenant: string,
  embodimentId: string,
  o: {
    readonly mode?: FinetuneMode;
    readonly digest?: string;
    readonly prefix?: string;
    readonly finetune?: string;
  } = {},
): Promise<string> {
  const id = newId('pv');
  const { mode = 'head', digest = randomUUID().replaceAll('-', '').padEnd(64, '0') } = o;
  await withTenant(db, tenant, async (tx) => {
    await tx.insert(policyVersions).values({
      id,
      tenantId: tenant,
      embodimentId,
      finetuneId: o.finetune ?? null,
      name: 'a version',
      digest,
      prefix: o.prefix ?? `tenants/${tenant}/policies/${digest}/`,
      statsHash: 'stats',
      preprocessHash: 'preprocess',
      mode,
      sampler: { steps: 10, noise_scale: 1 },
      prefixDelayMax: 3,
      bytes: 1000,
    });
  });
  return id;
}

/** A version whose manifest and one file of weights, of 3 MB, lie in the store. */
export async function addStoredVersion(
  db: Db,
  store: ObjectStore,
  tenant: string,
  embodimentId: string,
): Promise<string> {
  const head = randomBytes(3_000_000);
  const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
  const files = { 'head.safetensors': { sha256: hash(head), size: head.length } };
  const manifest = Buffer.from(JSON.stringify({ files }));
  const digest = hash(manifest);
  const prefix = `tenants/${tenant}/policies/${digest}/`;
  await store.put(`${prefix}head.safetensors`, head);
  await store.put(`${prefix}manifest.json`, manifest);
  return addPolicyVersion(db, tenant, embodimentId, { digest });
}

/** A message of a webhook that was delivered. */
export async function endDelivery(db: Db, tenant: string, id: string): Promise<void> {
  await withTenant(db, tenant, async (tx) => {
    const status = 'delivered' as const;
    await tx
      .update(webhookDeliveries)
      .set({ status, endedAt: new Date() })
      .where(eq(webhookDeliveries.id, id));
  });
}

export async function addServeWorker(
  db: Db,
  id = 'serve-1',
  url = `ws://127.0.0.1:1/${id}`,
  state: 'ready' | 'draining' = 'ready',
): Promise<void> {
  await reportServeWorker(db, { id, url, state, sessions: 0 });
}

/** `chunks` chunks of 16 actions, every two of them by one reasoning. */
export async function addUsage(
  db: Db,
  tenant: string,
  sessionId: string,
  chunks: number,
  at = new Date(),
): Promise<void> {
  const [session] = await withTenant(db, tenant, (tx) =>
    tx.select().from(sessions).where(eq(sessions.id, sessionId)),
  );
  if (session === undefined) throw new Error(`no session ${sessionId}`);
  const { policyVersionId } = session;
  const numbers = Array.from({ length: chunks }, (_, n) => n);
  const reasoningId = (n: number) => `${sessionId}:0:r${Math.floor(n / 2)}`;
  const used = numbers.map((n): WorkerRecord => {
    return {
      kind: 'usage',
      id: `${sessionId}:0:${n}`,
      session_id: sessionId,
      policy_version_id: policyVersionId,
      reasoning_id: reasoningId(n),
      actions: 16,
      reasoning_tokens: n % 2 === 0 ? 7 : 0,
      compute_us: 12_500,
      at: at.toISOString(),
    };
  });
  const thought = numbers
    .filter((n) => n % 2 === 0)
    .map((n): WorkerRecord => {
      return {
        kind: 'reasoning',
        id: reasoningId(n),
        session_id: sessionId,
        text: `thought ${n / 2}`,
        source: 'policy',
        tokens: 7,
        created_at: new Date(at.getTime() + n).toISOString(),
      };
    });
  await writeRecords(db, tenant, [...used, ...thought]);
}

/** A reasoning that its robot was told of and that drove no chunk. */
export async function addUnusedReasoning(
  db: Db,
  tenant: string,
  sessionId: string,
  createdAt: Date,
): Promise<void> {
  const record: WorkerRecord = {
    kind: 'reasoning',
    id: `${sessionId}:0:unused`,
    session_id: sessionId,
    text: 'thought in vain',
    source: 'policy',
    tokens: 9,
    created_at: createdAt.toISOString(),
  };
  await writeRecords(db, tenant, [record]);
}

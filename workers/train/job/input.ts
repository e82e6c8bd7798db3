import {
  ArmatureError,
  embodimentSpecSchema,
  finetuneOptionsSchema,
  type EmbodimentSpec,
  type FinetuneOptions,
} from '@armature/sdk/contract';
import {
  and,
  datasetFiles,
  datasets as datasetRows,
  embodiments,
  eq,
  finetunes,
  policyVersions,
  type Tx,
} from '@armature/db';
import { z } from 'zod';
import { dataDigest } from './data-version.ts';

/** A data set that is ready, and where its files lie in the object store. */
export interface JobDataset {
  readonly id: string;
  readonly name: string;
  /** Key prefix of its files, ending in `/`. */
  readonly prefix: string;
  /** Episodes that the set was accepted without. */
  readonly without: readonly number[];
  /** Where the fine-tune names it. */
  readonly field: string;
  /** Names its content: files and episodes left out. */
  readonly digest: string;
}

/** A registered policy version, by where its objects lie. */
export interface StoredVersion {
  readonly id: string;
  readonly digest: string;
  readonly prefix: string;
}

/** A checkpoint in the object store, and what had been trained when it was written. */
export const checkpointRecordSchema = z.object({
  key: z.string(),
  step: z.number().int(),
  sha256: z.string(),
  bytes: z.number().int(),
  seconds: z.number(),
  samples: z.number(),
  first_loss: z.number().nullable(),
  last_loss: z.number().nullable(),
});
export type CheckpointRecord = z.infer<typeof checkpointRecordSchema>;

/** All that the database says about one fine-tune. */
export interface FinetuneInput {
  readonly id: string;
  readonly tenantId: string;
  readonly name: string;
  readonly embodimentId: string;
  /** The embodiment with `options.reference` put in place of every group's own. */
  readonly spec: EmbodimentSpec;
  readonly options: FinetuneOptions;
  /** What it trains on, in this order; at least one. */
  readonly datasets: readonly JobDataset[];
  readonly heldout: JobDataset | null;
  /** The version to go on from. */
  readonly from: StoredVersion | null;
  /** The last checkpoint of an earlier attempt. */
  readonly checkpoint: CheckpointRecord | null;
}

/**
 * Reads what a fine-tune is to do.
 * @throws ArmatureError not_found, or what is wrong with its embodiment and data sets.
 */
export async function readInput(tx: Tx, tenantId: string, id: string): Promise<FinetuneInput> {
  const [row] = await tx
    .select()
    .from(finetunes)
    .where(and(eq(finetunes.tenantId, tenantId), eq(finetunes.id, id)));
  if (row === undefined) throw new ArmatureError('not_found', `there is no fine-tune ${id}`);
  const [embodiment] = await tx
    .select({ spec: embodiments.spec })
    .from(embodiments)
    .where(and(eq(embodiments.tenantId, tenantId), eq(embodiments.id, row.embodimentId)));
  if (embodiment === undefined) {
    throw new ArmatureError('not_found', `there is no embodiment ${row.embodimentId}`, {
      field: 'embodiment_id',
    });
  }
  const options = finetuneOptionsSchema.parse(row.options);
  const spec = embodimentSpecSchema.parse(embodiment.spec);
  const datasets = [await readDataset(tx, tenantId, row.datasetId, row.embodimentId, 'dataset_id')];
  for (const [i, added] of row.addedDatasetIds.entries()) {
    const field = `added_dataset_ids[${i}]`;
    datasets.push(await readDataset(tx, tenantId, added, row.embodimentId, field));
  }
  const heldout =
    row.heldoutDatasetId === null
      ? null
      : await readDataset(
          tx,
          tenantId,
          row.heldoutDatasetId,
          row.embodimentId,
          'heldout_dataset_id',
        );
  const from =
    options.base_policy_version_id === undefined
      ? null
      : await readVersion(tx, tenantId, options.base_policy_version_id, row.embodimentId);
  // Written by this worker; one of an older shape is as good as none.
  const checkpoint = checkpointRecordSchema.safeParse(row.checkpoint);
  return {
    id,
    tenantId,
    name: row.name,
    embodimentId: row.embodimentId,
    spec: withReference(spec, options.reference),
    options,
    datasets,
    heldout,
    from,
    checkpoint: checkpoint.success ? checkpoint.data : null,
  };
}

async function readDataset(
  tx: Tx,
  tenantId: string,
  id: string,
  embodimentId: string,
  field: string,
): Promise<JobDataset> {
  const [row] = await tx
    .select()
    .from(datasetRows)
    .where(and(eq(datasetRows.tenantId, tenantId), eq(datasetRows.id, id)));
  if (row === undefined) {
    throw new ArmatureError('not_found', `there is no data set ${id}`, {
      field,
      fix: 'Create a fine-tune of a data set that is there.',
    });
  }
  if (row.embodimentId !== embodimentId) {
    throw new ArmatureError(
      'embodiment_mismatch',
      `data set ${id} is of embodiment ${row.embodimentId}, the fine-tune of ${embodimentId}`,
      { field, fix: 'Use data sets that were uploaded for the same embodiment.' },
    );
  }
  if (row.status !== 'ready') {
    throw new ArmatureError('invalid_dataset', `data set ${id} is ${row.status}, not ready`, {
      field,
      fix: 'Wait until the data set is validated, or correct what its report finds.',
    });
  }
  const files = await tx
    .select({ path: datasetFiles.path, size: datasetFiles.size, sha256: datasetFiles.sha256 })
    .from(datasetFiles)
    .where(and(eq(datasetFiles.tenantId, tenantId), eq(datasetFiles.datasetId, id)));
  const { name, prefix, excludedEpisodes: without } = row;
  return { id, name, prefix, without, field, digest: dataDigest(files, without) };
}

async function readVersion(
  tx: Tx,
  tenantId: string,
  id: string,
  embodimentId: string,
): Promise<StoredVersion> {
  const field = 'options.base_policy_version_id';
  const [row] = await tx
    .select()
    .from(policyVersions)
    .where(and(eq(policyVersions.tenantId, tenantId), eq(policyVersions.id, id)));
  if (row === undefined) {
    throw new ArmatureError('not_found', `there is no policy version ${id}`, {
      field,
      fix: 'Go on from a version that is there.',
    });
  }
  if (row.embodimentId !== embodimentId) {
    throw new ArmatureError(
      'embodiment_mismatch',
      `policy version ${id} is of embodiment ${row.embodimentId}, the fine-tune of ${embodimentId}`,
      { field, fix: 'Go on from a version of the same embodiment.' },
    );
  }
  return { id, digest: row.digest, prefix: row.prefix };
}

/**
 * The spec with one reference for every joint group, if one is asked for.
 * @throws ArmatureError invalid_request where a relative action has no joint to be relative to.
 */
export function withReference(
  spec: EmbodimentSpec,
  reference: FinetuneOptions['reference'],
): EmbodimentSpec {
  if (reference === undefined) return spec;
  const references = Object.fromEntries(spec.action.map((joint) => [joint.group, reference]));
  const changed = embodimentSpecSchema.safeParse({ ...spec, references });
  if (changed.success) return changed.data;
  throw new ArmatureError(
    'invalid_request',
    `options.reference ${reference} does not fit the embodiment: ${changed.error.issues[0]?.message ?? 'unknown'}`,
    { field: 'options.reference', fix: 'Use absolute, or leave the reference to the embodiment.' },
  );
}

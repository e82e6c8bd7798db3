import type { datasets, embodiments, finetunes, Tx } from '@armature/db';
import {
  ArmatureError,
  embodimentSpecSchema,
  finetuneModeSchema,
  finetuneOptionsSchema,
  keepsFeatures,
  longestPrefix,
  movesAllOf,
  type EmbodimentSpec,
  type FinetuneOptions,
} from '@armature/sdk/contract';
import { findDataset, findEmbodiment, findFinetune, findPolicyVersion, needFiles } from './find.ts';

type DatasetRow = typeof datasets.$inferSelect;

/** What a fine-tune is made from. */
export interface FinetuneSets {
  readonly dataset: DatasetRow;
  /** Sets that it trains on together with the first. */
  readonly added: readonly DatasetRow[];
  readonly heldout: DatasetRow | null;
  readonly embodiment: typeof embodiments.$inferSelect;
  /** Whether every set is ready; where not, the others are being validated. */
  readonly ready: boolean;
}

/** What of a fine-tune's input says what it is made from. */
export interface FinetuneNaming {
  readonly dataset_id: string;
  readonly added_dataset_ids: readonly string[];
  readonly heldout_dataset_id?: string | undefined;
  readonly options: FinetuneOptions;
}

/** What a fine-tune that was made already is made from. */
export function namingOf(row: typeof finetunes.$inferSelect): FinetuneNaming {
  return {
    dataset_id: row.datasetId,
    added_dataset_ids: row.addedDatasetIds,
    heldout_dataset_id: row.heldoutDatasetId ?? undefined,
    options: finetuneOptionsSchema.parse(row.options),
  };
}

/**
 * The sets that a fine-tune names, uploaded and of one embodiment that its options fit. Their rows stay as
 * they are until the transaction ends.
 * @throws ArmatureError naming the field that does not fit, and what to do.
 */
export async function findFinetuneSets(
  tx: Tx,
  tenant: string,
  input: FinetuneNaming,
): Promise<FinetuneSets> {
  checkDistinct(input);
  const find = async (id: string, field: string): Promise<DatasetRow> => {
    const row = await findDataset(tx, tenant, id, field, 'share');
    checkUploaded(row, field);
    return row;
  };
  const dataset = await find(input.dataset_id, 'dataset_id');
  const alike = async (id: string, field: string): Promise<DatasetRow> => {
    const row = await find(id, field);
    if (row.embodimentId === dataset.embodimentId) return row;
    throw new ArmatureError(
      'embodiment_mismatch',
      `${field}: is of embodiment ${row.embodimentId}, the data set of ${dataset.embodimentId}`,
      { field, fix: 'Use data sets of the same embodiment.' },
    );
  };
  const added: DatasetRow[] = [];
  for (const [i, id] of input.added_dataset_ids.entries()) {
    added.push(await alike(id, `added_dataset_ids[${i}]`));
  }
  const heldout =
    input.heldout_dataset_id === undefined
      ? null
      : await alike(input.heldout_dataset_id, 'heldout_dataset_id');
  const embodiment = await findEmbodiment(tx, tenant, dataset.embodimentId, 'dataset_id');
  const spec = embodimentSpecSchema.parse(embodiment.spec);
  checkVelocity(spec, input.options);
  checkReference(spec, input.options);
  checkPrefix(spec, input.options);
  checkFrozenWeights(input.options);
  await checkStart(tx, tenant, dataset.embodimentId, input.options);
  const all = [dataset, ...added, ...(heldout === null ? [] : [heldout])];
  const ready = all.every(({ status }) => status === 'ready');
  return { dataset, added, heldout, embodiment, ready };
}

/** A set counts once in training, and what is held out is not trained on. */
function checkDistinct(input: FinetuneNaming): void {
  const trained = [input.dataset_id, ...input.added_dataset_ids];
  const again = input.added_dataset_ids.findIndex((id, i) => trained.indexOf(id) <= i);
  if (again >= 0) {
    const field = `added_dataset_ids[${again}]`;
    throw new ArmatureError('invalid_request', `${field}: is trained on already`, {
      field,
      fix: 'Name every data set once.',
    });
  }
  if (input.heldout_dataset_id === undefined || !trained.includes(input.heldout_dataset_id)) return;
  const field = 'heldout_dataset_id';
  throw new ArmatureError('invalid_request', `${field}: is the training set itself`, {
    field,
    fix: 'Hold out another data set, or leave it out.',
  });
}

function checkUploaded(dataset: DatasetRow, field: string): void {
  switch (dataset.status) {
    case 'ready':
    case 'validating':
      return;
    case 'uploading':
      throw new ArmatureError('incomplete_upload', `${field}: ${dataset.id} is not uploaded yet`, {
        field,
        fix: 'Finish the upload and complete the data set first.',
      });
    case 'deleted':
      throw new ArmatureError('conflict', `${field}: ${dataset.id} was deleted`, {
        field,
        fix: 'Upload the data set again, and use the new one.',
      });
    case 'rejected':
      throw new ArmatureError('invalid_dataset', `${field}: ${dataset.id} was rejected`, {
        field,
        fix: 'Read the findings of its report, correct the data and upload it as a new set.',
      });
  }
}

/** A relative action is measured from the joint of its name, so the state must have that joint. */
function checkReference(spec: EmbodimentSpec, options: FinetuneOptions): void {
  const { reference } = options;
  if (reference === undefined || reference === 'absolute') return;
  const state = new Set(spec.state.map(({ name }) => name));
  const lacking = spec.action.find(({ name }) => !state.has(name));
  if (lacking === undefined) return;
  throw new ArmatureError(
    'invalid_request',
    `options.reference: actions cannot be relative (${reference}), the state has no joint ${lacking.name}`,
    { field: 'options.reference', fix: 'Use reference absolute, or leave it to the embodiment.' },
  );
}

/**
 * A version can be gone on from where its weights mean the same in the new one: of the same embodiment
 * and references, in a mode that moves all that its own did. What its manifest says (base model,
 * pre-processing, normalisation against the new set) its worker compares.
 */
async function checkStart(
  tx: Tx,
  tenant: string,
  embodimentId: string,
  options: FinetuneOptions,
): Promise<void> {
  const id = options.base_policy_version_id;
  if (id === undefined) return;
  const field = 'options.base_policy_version_id';
  const version = await findPolicyVersion(tx, tenant, id, field, 'share');
  needFiles(version, field);
  if (version.embodimentId !== embodimentId) {
    throw new ArmatureError(
      'embodiment_mismatch',
      `${field}: ${id} is of embodiment ${version.embodimentId}, the data set of ${embodimentId}`,
      { field, fix: 'Go on from a version of the same embodiment.' },
    );
  }
  const before = finetuneModeSchema.parse(version.mode);
  if (!movesAllOf(options.mode, before)) {
    throw new ArmatureError(
      'invalid_request',
      `options.mode: ${options.mode} does not keep what ${id} moved in mode ${before}`,
      { field: 'options.mode', fix: `Go on in mode ${before}, or in one that moves more.` },
    );
  }
  if (version.finetuneId === null) return;
  const made = await findFinetune(tx, tenant, version.finetuneId, field);
  const { reference, frozen_weights: form = 'float32' } = finetuneOptionsSchema.parse(made.options);
  if (form !== (options.frozen_weights ?? 'float32')) {
    throw new ArmatureError(
      'invalid_request',
      `options.frozen_weights: ${id} was trained on frozen layers in ${form}`,
      { field: 'options.frozen_weights', fix: `Set it to ${form}.` },
    );
  }
  if (reference !== options.reference) {
    throw new ArmatureError(
      'invalid_request',
      `options.reference: ${id} was trained with ${reference ?? "the embodiment's own references"}`,
      {
        field: 'options.reference',
        fix: reference === undefined ? 'Leave it out.' : `Set it to ${reference}.`,
      },
    );
  }
}

/** Layers that train, or that gradients pass through, are float32. */
function checkFrozenWeights({ mode, frozen_weights: form = 'float32' }: FinetuneOptions): void {
  if (form === 'float32' || keepsFeatures(mode)) return;
  throw new ArmatureError(
    'invalid_request',
    `options.frozen_weights: mode ${mode} trains through the layers that ${form} would freeze`,
    { field: 'options.frozen_weights', fix: 'Use mode head or policy, or leave it out.' },
  );
}

function checkPrefix(spec: EmbodimentSpec, { prefix_delay_max: asked = 0 }: FinetuneOptions): void {
  const most = longestPrefix(spec);
  if (asked <= most) return;
  throw new ArmatureError(
    'invalid_request',
    `options.prefix_delay_max: ${asked} of the ${spec.horizon} actions of a chunk leave too few to go on with`,
    { field: 'options.prefix_delay_max', fix: `Use ${most} or fewer.` },
  );
}

function checkVelocity(spec: EmbodimentSpec, { velocity, reference }: FinetuneOptions): void {
  if (velocity !== 'use') return;
  const references = reference === undefined ? Object.values(spec.references) : [reference];
  if (!references.includes('last_command')) return;
  throw new ArmatureError(
    'invalid_request',
    'options.velocity: actions relative to the last command already know how the robot moves',
    { field: 'options.velocity', fix: 'Leave it out, or use actions relative to the state.' },
  );
}

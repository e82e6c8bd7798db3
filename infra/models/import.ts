import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {
  ModelConfigError,
  ModelFolderError,
  openModelFolder,
  type HuggingFaceModel,
} from '@armature/policy/backbones';
import { SafetensorsError, fromFloat32, writeSafetensors } from '@armature/policy/checkpoint';
import {
  ExportError,
  freshHead,
  freshScopes,
  isJoinable,
  isSiglip,
  modelBytes,
  modelManifestBytes,
  planImport,
  planPolicy,
  planReference,
  restOf,
  writeWeightData,
  type FloatFormat,
  type FreshWeights,
  type ImportPlan,
  type ImportSizes,
  type ModelManifest,
  type ModelSources,
  type PolicySizes,
  type StoreOptions,
  type WeightFormat,
} from '@armature/policy/export';
import { LARGE_OWN } from '@armature/policy/plan';
import { ArmatureError } from '@armature/sdk/contract';
import { loadEach, logitsError, read, withEngine, type LogitsError } from './check.ts';
import { modelFolder } from './model-folder.ts';
import { ADAPTED } from './plan.ts';
import { staged } from './staging.ts';

export interface ImportRequest extends ImportSizes {
  /** Folder of a language model, or of SigLIP alone. */
  readonly dir: string;
  /** Folder of SigLIP beside a language model. */
  readonly vision?: string;
  readonly out: string;
  readonly weights: WeightFormat;
  readonly rest?: FloatFormat;
  /** One joined model where there is something to see with; graphs of the parts alone when null. */
  readonly policy: PolicyRequest | null;
  /** Whether the result is loaded and its logits are compared with float32's. */
  readonly check: boolean;
  readonly signal: AbortSignal;
  /** @param share 0 to 1 of the phase. */
  readonly onProgress: (phase: 'write' | 'check', share: number, text: string) => void;
}

/** What a joined model has beside its folders. */
export interface PolicyRequest {
  /** How many of the views are on the wrist. */
  readonly wrist: number;
  /** Actions of a chunk. */
  readonly horizon: number;
  /** Channels of the decoder's levels. */
  readonly decoder: readonly number[];
  /** Policies resident beside each other, and the rank of their adapters (0: none). */
  readonly slots: number;
  readonly loraRank: number;
  readonly seed: number;
}

export interface ImportReport {
  readonly out: string;
  readonly weights: WeightFormat;
  readonly rest: FloatFormat;
  readonly parameters: number;
  /** Of all files. */
  readonly bytes: number;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** Of each matrix that is not stored as its source has it, relative to the source. */
  readonly errors: readonly {
    readonly name: string;
    readonly format: WeightFormat;
    readonly max: number;
    readonly rms: number;
  }[];
  /** Weights that no folder holds and where they lie, by scope. */
  readonly fresh: ModelManifest['fresh'];
  /** Against float32 on a fixed text; null where it was not compared, and then why not. */
  readonly logits: LogitsError | null;
  readonly not_compared: string | null;
}

const DATA = 'model.data';
const MANIFEST = 'model.json';
/** One embodiment's head, fresh. */
const HEAD = 'head.safetensors';
/** What a runtime needs beside the weights. */
const COPIED = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];
/** Kept free on the disk beside what is written. */
const SPARE = 2 ** 28;

/**
 * Imports published folders: graphs, one data file, the tokenizer, and a manifest with digests. `out`
 * appears whole or not at all.
 * @throws ArmatureError for folders, sizes or a place that do not do; cancelled when the signal says so.
 */
export async function importModel(request: ImportRequest): Promise<ImportReport> {
  try {
    const sources = await openSources(request);
    const rest = request.rest ?? restOf(request.weights);
    const plan = planOf(sources, { weights: request.weights, rest }, request);
    if (plan.graphs.length === 0) {
      throw new ExportError('dir', 'there is nothing to import: no language model and no view');
    }
    const out = path.resolve(request.out);
    return await staged(out, (folder) => fill(folder, out, request, sources, plan));
  } catch (error) {
    throw asArmature(error, request.signal);
  }
}

function planOf(sources: ModelSources, store: StoreOptions, request: ImportRequest): ImportPlan {
  const { policy, views } = request;
  if (policy === null || views === 0 || !isJoinable(sources)) {
    return planImport(sources, store, request, DATA);
  }
  if (policy.wrist > views) throw new ExportError('wrist', `there are ${views} views`);
  const { batch, imageSize, textTokens, reasoningTokens } = request;
  const { wrist, horizon, slots, loraRank, seed } = policy;
  const sizes: PolicySizes = {
    batch,
    imageSize,
    slots,
    seed,
    signature: { external: views - wrist, wrist, horizon, textTokens, reasoningTokens },
    own: { ...LARGE_OWN, decoder: { ...LARGE_OWN.decoder, channels: policy.decoder } },
    ...(loraRank === 0 ? {} : { lora: { rank: loraRank, scaling: 1, targets: ADAPTED } }),
  };
  return planPolicy(sources, store, sizes, DATA);
}

async function openSources({ dir, vision }: ImportRequest): Promise<ModelSources> {
  const main = await openFolder(dir, 'dir');
  const other = vision === undefined ? undefined : await openFolder(vision, 'vision');
  if (isSiglip(main)) {
    if (other !== undefined) throw new ExportError('vision', `${dir} is a vision encoder itself`);
    return { vision: main };
  }
  if (other !== undefined && !isSiglip(other)) {
    throw new ExportError('vision', `${vision ?? ''} is no folder of SigLIP`);
  }
  return { language: main, ...(other === undefined ? {} : { vision: other }) };
}

async function openFolder(dir: string, field: string): Promise<HuggingFaceModel> {
  try {
    return await openModelFolder(await modelFolder(dir));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    throw new ArmatureError('not_found', `there is no folder ${dir}`, { field, cause: error });
  }
}

async function fill(
  folder: string,
  out: string,
  request: ImportRequest,
  sources: ModelSources,
  plan: ImportPlan,
): Promise<ImportReport> {
  await needDisk(folder, plan.size);
  const files = new Map<string, { sha256: string; size: number }>();
  const keep = async (name: string, bytes: Uint8Array): Promise<void> => {
    await writeFile(path.join(folder, name), bytes);
    files.set(name, {
      sha256: createHash('sha256').update(bytes).digest('hex'),
      size: bytes.byteLength,
    });
  };
  const data = await writeData(path.join(folder, DATA), plan, request, 'write');
  files.set(DATA, { sha256: data.sha256, size: plan.size });
  for (const graph of plan.graphs) await keep(`${graph.name}.onnx`, modelBytes(plan, graph));
  if (plan.fresh.head.length > 0) await keep(HEAD, headBytes(plan.fresh));
  const fresh = freshOf(plan.fresh);
  const checked = request.check
    ? await check(folder, request, sources, plan)
    : { logits: null, not_compared: 'not asked for' };
  const formats = new Map(plan.weights.map(({ name, format }) => [name, format]));
  const errors = [...data.errors].flatMap(([name, error]) => {
    const format = formats.get(name);
    return format === undefined || format === 'float32' ? [] : [{ name, format, ...error }];
  });
  await copyBeside(request.dir, keep);
  const manifest: ModelManifest = {
    format: 'armature-model/2',
    ...plan.store,
    signature: plan.signature,
    parameters: plan.parameters,
    fresh,
    graphs: Object.fromEntries(
      plan.graphs.map((graph) => {
        const values = (list: typeof graph.inputs) =>
          list.map(({ name, tensor: { dtype, shape } }) => ({ name, dtype, shape: [...shape] }));
        return [graph.name, { inputs: values(graph.inputs), outputs: values(graph.outputs) }];
      }),
    ),
    errors: {
      weights: Object.fromEntries(errors.map(({ name, ...error }) => [name, error])),
      logits: checked.logits,
    },
    files: Object.fromEntries(files),
  };
  await writeFile(path.join(folder, MANIFEST), modelManifestBytes(manifest));
  request.signal.throwIfAborted();
  const sizes = [...files].map(([name, { size }]) => ({ name, bytes: size }));
  return {
    out,
    ...plan.store,
    parameters: plan.parameters,
    bytes: sizes.reduce((sum, { bytes }) => sum + bytes, 0),
    files: sizes,
    errors,
    fresh,
    ...checked,
  };
}

function headBytes(fresh: FreshWeights): Uint8Array {
  const tensors = [...freshHead(fresh)].map(
    ([name, { shape, data }]) => [name, fromFloat32(data, shape, 'F32')] as const,
  );
  return writeSafetensors(new Map(tensors));
}

function freshOf({ specs, head, seed }: FreshWeights): ModelManifest['fresh'] {
  return [[DATA, specs.values()] as const, [HEAD, head] as const].flatMap(([file, own]) =>
    [...freshScopes(own)].map(([scope, parameters]) => ({ file, scope, parameters, seed })),
  );
}

async function writeData(
  file: string,
  plan: ImportPlan,
  { signal, onProgress }: ImportRequest,
  phase: 'write' | 'check',
): ReturnType<typeof writeWeightData> {
  const handle = await open(file, 'wx');
  try {
    const written = await writeWeightData(
      plan,
      { write: (bytes) => handle.appendFile(bytes) },
      (done, weight) => {
        onProgress(phase, plan.size === 0 ? 1 : done / plan.size, weight);
      },
      signal,
    );
    await handle.sync();
    return written;
  } finally {
    await handle.close();
  }
}

/** Loads every graph by its path, then compares logits with the unrounded model's, one in memory at a time. */
async function check(
  folder: string,
  request: ImportRequest,
  { language }: ModelSources,
  plan: ImportPlan,
): Promise<Pick<ImportReport, 'logits' | 'not_compared'>> {
  const { signal, onProgress } = request;
  return withEngine(async (engine) => {
    onProgress('check', 0, 'loading');
    await loadEach(
      engine,
      plan.graphs.map(({ name }) => path.join(folder, `${name}.onnx`)),
      signal,
    );
    if (plan.reading === undefined || language === undefined) {
      return { logits: null, not_compared: 'there is no language model' };
    }
    const scratch = path.join(folder, 'check');
    const reference = planReference(language, DATA);
    const lack = await lackOf(folder, reference.size);
    if (lack !== null) return { logits: null, not_compared: lack };
    await mkdir(scratch);
    try {
      const own = path.join(folder, 'reading.onnx');
      await writeFile(own, modelBytes(plan, plan.reading.graph));
      const got = await read(engine, own, plan.reading.vocabulary);
      await rm(own);
      signal.throwIfAborted();
      await writeData(path.join(scratch, DATA), reference, request, 'check');
      const exact = path.join(scratch, 'reading.onnx');
      if (reference.reading === undefined) throw new RangeError('a reference reads a text');
      await writeFile(exact, modelBytes(reference, reference.reading.graph));
      const want = await read(engine, exact, plan.reading.vocabulary);
      return { logits: logitsError(want, got), not_compared: null };
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  });
}

/** Why the unrounded model cannot be read on this machine; null where it can. */
async function lackOf(folder: string, size: number): Promise<string | null> {
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  if (size > os.totalmem()) {
    return `float32 takes ${gib(size)}, more than this machine’s memory of ${gib(os.totalmem())}`;
  }
  const free = await freeDisk(folder);
  return size + SPARE > free ? `float32 takes ${gib(size)}, the disk has ${gib(free)} left` : null;
}

async function freeDisk(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

async function needDisk(folder: string, size: number): Promise<void> {
  const free = await freeDisk(folder);
  if (size + SPARE <= free) return;
  throw new ArmatureError('invalid_request', `the model takes ${size} bytes, ${free} are free`, {
    field: 'out',
    fix: 'Free some space, or choose a smaller format with --weights.',
  });
}

async function copyBeside(
  dir: string,
  keep: (name: string, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const { files: there } = await modelFolder(dir);
  for (const name of COPIED.filter((file) => there.includes(file))) {
    await keep(name, await readFile(path.join(dir, name)));
  }
}

function asArmature(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted && error === signal.reason) {
    return new ArmatureError('cancelled', 'the import was interrupted; nothing is left of it', {
      cause: error,
    });
  }
  if (error instanceof ExportError) {
    const { message, field } = error;
    return new ArmatureError('invalid_request', message, { field, cause: error });
  }
  const told =
    error instanceof ModelConfigError ||
    error instanceof ModelFolderError ||
    error instanceof SafetensorsError;
  if (!told) return error;
  return new ArmatureError('invalid_request', error.message, { field: 'dir', cause: error });
}

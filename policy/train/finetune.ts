import {
  movesAllOf,
  longestPrefix,
  type EmbodimentSpec,
  type FeatureStats,
} from '@armature/sdk/contract';
import {
  canonicalJson,
  manifestDigest,
  readSafetensors,
  readWeights,
  sha256,
  toFloat32,
  writeSafetensors,
  writeWeights,
  type BaseModel,
  type PolicyManifest,
} from '../checkpoint/index.ts';
import {
  PREPROCESS_HASH,
  fitNormalisation,
  fitVelocity,
  imageSize,
  outsideOf,
  type Motion,
  type Normalisation,
} from '../data/index.ts';
import type { Signature } from '../divla/index.ts';
import type { Engine, Values } from '../engine/index.ts';
import { mergePairs, trunkPairs } from '../lora/trunk.ts';
import { flatLayout, unpackFlat, type FlatLayout } from '../nn/flat.ts';
import { initialValues, type ParamSpec } from '../nn/params.ts';
import { actionWeights } from './action-weights.ts';
import { trainingBatch, type BatchSource } from './batch.ts';
import { framesOf, orderedCameras, setAside, type TrainingEpisode } from './episodes.ts';
import { computeFeatures } from './features.ts';
import { isTrainable, trainsOnPictures, type ResolvedFinetuneOptions } from './options.ts';
import { postureSpread } from './posture.ts';
import { chooseSampler, DEFAULT_SAMPLER } from './sampler-choice.ts';
import { softened } from './softened.ts';
import type { TrainGraphOptions } from './graph.ts';
import { TrainSession, type StepResult, type TrainState } from './session.ts';

/** A fine-tune that cannot start or go on; names the field. */
export class FinetuneError extends Error {
  override readonly name = 'FinetuneError';
  readonly field: string;

  constructor(message: string, field: string) {
    super(message);
    this.field = field;
  }
}

/** Something slow before the first step or after the last, which a fine-tune's steps do not tell of. */
export type FinetuneProgress =
  | {
      readonly phase: 'compile' | 'sampler';
      readonly done: number;
      readonly total: number;
    }
  | {
      /** Passes of the frozen parts, a frame each, whose results are kept. */
      readonly phase: 'features';
      readonly done: number;
      readonly total: number;
      /** Passes that the steps to come would take without them: a row each. */
      readonly reads: number;
    };

export interface FinetuneInput {
  readonly engine: Engine;
  readonly base: BaseModel;
  /** References as this version has them. */
  readonly spec: EmbodimentSpec;
  /** True statistics of the training set. */
  readonly stats: { readonly state: FeatureStats; readonly action: FeatureStats };
  readonly episodes: readonly TrainingEpisode[];
  readonly options: ResolvedFinetuneOptions;
  /** An earlier version whose weights and normalisation training goes on from. */
  readonly from?: FinishedPolicy;
  /** A checkpoint of this very job. */
  readonly resume?: Uint8Array;
  readonly onProgress?: (progress: FinetuneProgress) => void;
  readonly signal?: AbortSignal;
}

export interface FinishedPolicy {
  readonly digest: string;
  readonly manifest: PolicyManifest;
  readonly files: Readonly<Record<string, Uint8Array>>;
}

const OPTIMISER = { beta1: 0.9, beta2: 0.98, eps: 1e-8, clip: 1 } as const;

/** A fine-tune of one embodiment from a base: steps, checkpoints, and a policy version at the end. */
export class Finetune {
  readonly totalSteps: number;
  /** What a step's graph is built from; absent where there are no steps. */
  readonly graph: TrainGraphOptions | undefined;
  private readonly input: FinetuneInput;
  private readonly normalisation: Normalisation;
  private readonly layout: FlatLayout;
  private readonly session: TrainSession | undefined;
  private readonly source: BatchSource;
  private readonly aside: readonly number[];
  private readonly start: (name: string) => Float32Array;
  private next: { readonly step: number; readonly batch: Values } | undefined;

  private constructor(o: {
    input: FinetuneInput;
    layout: FlatLayout;
    session: TrainSession | undefined;
    graph?: TrainGraphOptions;
    source: BatchSource;
    aside: readonly number[];
    start: (name: string) => Float32Array;
  }) {
    this.input = o.input;
    this.totalSteps = o.input.options.steps;
    this.normalisation = o.source.normalisation;
    this.layout = o.layout;
    this.session = o.session;
    this.graph = o.graph;
    this.source = o.source;
    this.aside = o.aside;
    this.start = o.start;
  }

  /**
   * Prepares a fine-tune: figures of the set, features of frozen parts once, the training graph.
   * @throws FinetuneError when the episodes do not fit the embodiment, the model or the version that
   * training goes on from, that version fits no job of this kind, or the checkpoint is of another job.
   */
  static async create(input: FinetuneInput): Promise<Finetune> {
    const { engine, base, spec, episodes, options } = input;
    checkInput(input);
    const cameras = orderedCameras(spec);
    const size = imageSize(spec);
    const signature: Signature = {
      external: cameras.external,
      wrist: cameras.wrist,
      ...size,
      horizon: spec.horizon,
    };
    const { training, aside } = setAside(episodes.length);
    const trained = training.map((i) => episodes[i] as TrainingEpisode);
    const normalisation = normalisationFor(input, trained);
    const frames = framesOf(episodes, training);
    const { layout, start } = parameters(input);
    const common = {
      config: base.config,
      signature,
      spec,
      normalisation,
      episodes,
      frames,
      options,
      spread: postureSpread(normalisation, trained),
      weights: actionWeights(normalisation, input.stats.action.std, options.actionWeighting),
    };
    if (options.steps === 0) {
      return new Finetune({ input, layout, session: undefined, source: common, aside: [], start });
    }
    const state =
      input.resume === undefined ? undefined : readCheckpoint(input.resume, jobKey(input));
    const fromImages = trainsOnPictures(options.mode);
    const reads = (options.steps - (state?.step ?? 0)) * options.batchSize;
    const features = fromImages
      ? undefined
      : await computeFeatures({
          engine,
          config: base.config,
          signature,
          spec,
          weights: base.trunk,
          specs: base.trunkSpecs,
          episodes,
          frames,
          blank: options.images === 'blank',
          onProgress: (done, total) => {
            input.onProgress?.({ phase: 'features', done, total, reads });
          },
          ...(input.signal === undefined ? {} : { signal: input.signal }),
        });
    input.onProgress?.({ phase: 'compile', done: 0, total: 1 });
    const graph: TrainGraphOptions = {
      config: base.config,
      signature,
      pictures: options.batchSize,
      instructions: 1,
      draws: options.draws,
      prefixed: options.prefixDelayMax > 0,
      spoken: options.spoken,
      slots: 1,
      passes: options.passes,
      from: fromImages ? 'images' : 'features',
      trainable: layout,
      ...(options.lora === undefined ? {} : { lora: options.lora }),
      reasoningWeight: options.reasoningWeight,
      groundingWeight: 0,
      optimiser: { ...OPTIMISER, weightDecay: options.weightDecay },
    };
    const session = await TrainSession.create({
      engine,
      id: 'finetune',
      options: graph,
      settings: {
        peakRate: options.learningRate,
        warmup: options.warmup,
        totalSteps: options.steps,
        rateFloor: 0.02,
        emaDecay: options.emaDecay,
      },
      weights: start,
      ...(state === undefined ? {} : { state }),
    });
    input.onProgress?.({ phase: 'compile', done: 1, total: 1 });
    const source = features === undefined ? common : { ...common, features };
    return new Finetune({ input, layout, session, graph, source, aside, start });
  }

  get stepIndex(): number {
    return this.session?.stepIndex ?? 0;
  }

  /**
   * One optimiser step.
   * @param elapsed share of the job's allowed time that is used, 0 to 1; 0 where it has no limit
   * @throws FinetuneError when the job has no steps.
   */
  async step(elapsed = 0): Promise<StepResult & { readonly samples: number }> {
    if (this.session === undefined)
      throw new FinetuneError('the job has no steps', 'options.steps');
    const running = this.session.step(this.batch(this.session.stepIndex), elapsed);
    // The next batch is made while the engine is at work on this one.
    this.next = { step: this.session.stepIndex + 1, batch: this.batch(this.session.stepIndex + 1) };
    const result = await running;
    return { ...result, samples: this.input.options.batchSize };
  }

  /** Everything that a resumed job needs to go on bit for bit. */
  async checkpoint(): Promise<Uint8Array> {
    if (this.session === undefined)
      throw new FinetuneError('the job has no steps', 'options.steps');
    const state = await this.session.state();
    const flat = (data: Float32Array) => ({ dtype: 'F32', shape: [data.length], data }) as const;
    return writeSafetensors(
      new Map([
        ['theta', flat(state.theta)],
        ['m', flat(state.m)],
        ['v', flat(state.v)],
        ['ema', flat(state.ema)],
      ]),
      { step: String(state.step), job: jobKey(this.input) },
    );
  }

  /** Packs the averaged weights as a policy version, with the sampler chosen on episodes set aside. */
  async finish(): Promise<FinishedPolicy> {
    const weights = await this.averaged();
    const draft = this.pack(weights, DEFAULT_SAMPLER);
    if (this.aside.length === 0) return draft;
    const sampler = await chooseSampler({
      engine: this.input.engine,
      base: this.input.base,
      policy: draft,
      episodes: this.aside.map((i) => this.input.episodes[i] as TrainingEpisode),
      onProgress: (done, total) => {
        this.input.onProgress?.({ phase: 'sampler', done, total });
      },
      ...(this.input.signal === undefined ? {} : { signal: this.input.signal }),
    });
    return this.pack(weights, sampler);
  }

  async close(): Promise<void> {
    await this.session?.close();
  }

  private batch(step: number): Values {
    return this.next?.step === step ? this.next.batch : trainingBatch(this.source, step);
  }

  private async averaged(): Promise<(name: string) => Float32Array> {
    if (this.session === undefined) return this.start;
    const { ema } = await this.session.state();
    const trained = unpackFlat(this.layout, ema);
    return (name) => trained.get(name) ?? this.start(name);
  }

  private pack(
    weights: (name: string) => Float32Array,
    sampler: PolicyManifest['sampler'],
  ): FinishedPolicy {
    const { base, spec, stats, options, episodes, from } = this.input;
    const files: Record<string, Uint8Array> = {
      'head.safetensors': writeWeights(base.headSpecs, weights, 'F32', {}),
    };
    if (options.lora !== undefined) {
      const pairs = trunkPairs(options.lora, base.trunkSpecs);
      files['lora.safetensors'] = writeWeights(pairs, weights, 'F32', {});
    } else if (options.mode !== 'head') {
      files['trunk.safetensors'] = writeWeights(base.trunkSpecs, weights, 'F32', {});
    }
    const sources = new Set(episodes.flatMap((episode) => episode.labels.map((l) => l.source)));
    const manifest: PolicyManifest = {
      format: 'armature-policy/1',
      preset: 'nano',
      base_digest: base.digest,
      mode: options.mode,
      ...(options.lora === undefined ? {} : { lora: options.lora }),
      spec,
      normalisation: this.normalisation,
      stats,
      stats_hash: sha256(canonicalJson({ stats, normalisation: this.normalisation })),
      preprocess_hash: PREPROCESS_HASH,
      image: imageSize(spec),
      sampler,
      images: options.images,
      ...(options.prefixDelayMax === 0 ? {} : { prefix_delay_max: options.prefixDelayMax }),
      labels: sources.size === 0 ? 'none' : [...sources].sort().join(', '),
      ...(from === undefined ? {} : { continues: from.digest }),
      files: Object.fromEntries(
        Object.entries(files).map(([name, bytes]) => [
          name,
          { sha256: sha256(bytes), size: bytes.length },
        ]),
      ),
    };
    return { digest: manifestDigest(manifest), manifest, files };
  }
}

function checkInput({ base, spec, episodes, options }: FinetuneInput): void {
  const { dims } = base.config.head;
  const { maxViews } = base.config;
  const cameras = orderedCameras(spec);
  const most = longestPrefix(spec);
  if (options.prefixDelayMax > most) {
    throw new FinetuneError(
      `a prefix may have up to ${most} of the ${spec.horizon} actions of a chunk, got ${options.prefixDelayMax}`,
      'options.prefix_delay_max',
    );
  }
  if (episodes.length === 0) throw new FinetuneError('the set has no episodes', 'dataset_id');
  for (const [field, strength] of [
    ['options.random_crop', options.augment.crop],
    ['options.colour_jitter', options.augment.colour],
  ] as const) {
    if (strength > 0 && !trainsOnPictures(options.mode)) {
      throw new FinetuneError(
        `mode ${options.mode} trains on features that are computed once, of pictures as they are`,
        field,
      );
    }
  }
  if (spec.state.length > dims || spec.action.length > dims) {
    throw new FinetuneError(
      `${base.config.name} takes at most ${dims} state and action dimensions`,
      'embodiment.spec',
    );
  }
  if (cameras.external > maxViews.external || cameras.wrist > maxViews.wrist) {
    throw new FinetuneError(
      `${base.config.name} takes at most ${maxViews.external} external and ${maxViews.wrist} wrist views`,
      'embodiment.spec.cameras',
    );
  }
  for (const { index, length, state, action } of episodes) {
    if (state.length !== length * spec.state.length) {
      throw new FinetuneError(
        `episode ${index} has states of another dimension than the embodiment's ${spec.state.length}`,
        'embodiment.spec.state',
      );
    }
    if (action.length !== length * spec.action.length) {
      throw new FinetuneError(
        `episode ${index} has actions of another dimension than the embodiment's ${spec.action.length}`,
        'embodiment.spec.action',
      );
    }
  }
}

/**
 * How numbers are normalised: as the set says, or as the version did that training goes on from,
 * since its weights mean what they mean in its figures alone.
 */
function normalisationFor(input: FinetuneInput, trained: readonly Motion[]): Normalisation {
  const { from, spec, base } = input;
  if (from === undefined) return freshNormalisation(input, trained);
  checkStart(input, from.manifest);
  const { normalisation } = from.manifest;
  const [worst] = outsideOf(normalisation, spec, trained, base.config.diffusion.clip);
  if (worst === undefined) return normalisation;
  throw new FinetuneError(
    `${(worst.share * 100).toFixed(1)} % of ${worst.feature} ${worst.name} lies outside of what the version to go on from can express`,
    FROM,
  );
}

function freshNormalisation(
  { spec, options }: FinetuneInput,
  trained: readonly Motion[],
): Normalisation {
  const normalisation = fitNormalisation(spec, trained);
  const byCommand = normalisation.action.some(({ reference }) => reference === 'last_command');
  if (options.velocity === 'ignore' || byCommand) return normalisation;
  if (trained.every(({ length }) => length <= spec.horizon / 2)) {
    throw new FinetuneError(
      `velocities need an episode of more than ${spec.horizon / 2} frames`,
      'options.velocity',
    );
  }
  return { ...normalisation, velocity: fitVelocity(spec, trained, normalisation.state.std) };
}

/** Field that names the version to go on from. */
const FROM = 'options.base_policy_version_id';

function checkStart({ base, spec, options }: FinetuneInput, manifest: PolicyManifest): void {
  if (manifest.base_digest !== base.digest) {
    throw new FinetuneError('the version to go on from was made from another base model', FROM);
  }
  if (manifest.preprocess_hash !== PREPROCESS_HASH) {
    throw new FinetuneError('the version to go on from has another pre-processing', FROM);
  }
  if (canonicalJson(manifest.spec) !== canonicalJson(spec)) {
    throw new FinetuneError(
      'the version to go on from is of another embodiment or has other references',
      FROM,
    );
  }
  if (!movesAllOf(options.mode, manifest.mode)) {
    throw new FinetuneError(
      `a version of mode ${manifest.mode} moved more than mode ${options.mode} keeps`,
      FROM,
    );
  }
  const goesOn = options.lora !== undefined && manifest.lora !== undefined;
  if (goesOn && canonicalJson(manifest.lora) !== canonicalJson(options.lora)) {
    throw new FinetuneError('the version to go on from has pairs of another kind', FROM);
  }
}

/** Trainable parameters as a flat layout, and where each parameter starts. */
function parameters(input: FinetuneInput): {
  layout: FlatLayout;
  start: (name: string) => Float32Array;
} {
  const { base, options, from } = input;
  const pairs = options.lora === undefined ? [] : trunkPairs(options.lora, base.trunkSpecs);
  const own = [...pairs, ...base.headSpecs];
  const specs = new Map([...base.trunkSpecs, ...own].map((spec) => [spec.name, spec] as const));
  const fresh = options.seed + 1;
  const withSlot = (spec: ParamSpec): ParamSpec => ({ ...spec, shape: [1, ...spec.shape] });
  const layout = flatLayout([
    ...base.trunkSpecs.filter((spec) => isTrainable(options.mode, spec)),
    ...own.filter((spec) => isTrainable(options.mode, spec)).map(withSlot),
  ]);
  const earlier = from === undefined ? new Map<string, Float32Array>() : weightsOf(input, from);
  const start = (name: string): Float32Array => {
    const continued = earlier.get(name);
    if (continued !== undefined) return continued;
    const known = base.trunk.get(name);
    const spec = specs.get(name);
    if (spec === undefined) throw new RangeError(`the model has no parameter ${name}`);
    if (known === undefined) return initialValues(spec, fresh);
    // A head to go on from was fitted to this very trunk.
    const gives = from === undefined && isTrainable(options.mode, spec);
    return gives ? softened(spec, known, options.baseShare, fresh) : known;
  };
  return { layout, start };
}

/** A version's own weights: its head, and its trunk or its pairs where it has them. */
function weightsOf(
  { base, options }: FinetuneInput,
  { manifest, files }: FinishedPolicy,
): Map<string, Float32Array> {
  const read = (name: string, specs: readonly ParamSpec[]): Map<string, Float32Array> => {
    const bytes = files[name];
    if (bytes === undefined) throw new RangeError(`the version to go on from lacks ${name}`);
    return readWeights(specs, bytes).weights;
  };
  const beside = (): Map<string, Float32Array> => {
    const { mode, lora } = manifest;
    if (mode === 'head') return new Map();
    if (mode !== 'lora') return read('trunk.safetensors', base.trunkSpecs);
    if (lora === undefined) throw new RangeError('the version to go on from has no pairs');
    const pairs = read('lora.safetensors', trunkPairs(lora, base.trunkSpecs));
    // A trunk that moves itself takes the pairs in: the same outputs, of which all may change.
    return options.lora === undefined ? mergePairs(lora, base.trunk, pairs) : pairs;
  };
  return new Map([...beside(), ...read('head.safetensors', base.headSpecs)]);
}

/** What makes two jobs the same as far as a checkpoint goes. */
function jobKey({ base, spec, options, episodes, from }: FinetuneInput): string {
  const lengths = episodes.map((episode) => [episode.index, episode.length]);
  const start = from === undefined ? {} : { from: from.digest };
  return sha256(canonicalJson({ base: base.digest, spec, options, lengths, ...start }));
}

function readCheckpoint(bytes: Uint8Array, job: string): TrainState {
  const { tensors, metadata } = readSafetensors(bytes);
  if (metadata['job'] !== job) {
    throw new FinetuneError('the checkpoint belongs to another job', 'resume');
  }
  const take = (name: string): Float32Array => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new FinetuneError(`the checkpoint lacks ${name}`, 'resume');
    return toFloat32(tensor);
  };
  const step = Number(metadata['step']);
  if (!Number.isInteger(step)) throw new FinetuneError('the checkpoint has no step', 'resume');
  return { step, theta: take('theta'), m: take('m'), v: take('v'), ema: take('ema') };
}

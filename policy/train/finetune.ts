import {
  canonicalJson,
  readSafetensors,
  sha256,
  toFloat32,
  writeSafetensors,
  type PolicyManifest,
} from '../checkpoint/index.ts';
import type { Values } from '../engine/index.ts';
import { unpackFlat, type FlatLayout } from '../nn/flat.ts';
import { actionWeights } from './action-weights.ts';
import { trainingBatch, type BatchSource } from './batch.ts';
import { checkInput, checkMixture, normalisationFor, ofMember } from './checks.ts';
import { framesOf, setAside, signatureOf, type TrainingEpisode } from './episodes.ts';
import { computeFeatures } from './features.ts';
import {
  FinetuneError,
  type FinetuneCommon,
  type FinetuneInput,
  type FinishedPolicy,
  type MixedFinetuneInput,
} from './finetune-input.ts';
import type { TrainGraphOptions } from './graph.ts';
import { joined, shareOf } from './mixture.ts';
import { trainsOnPictures } from './options.ts';
import { packed, sharedFiles } from './packing.ts';
import { postureSpread } from './posture.ts';
import { chooseSampler, DEFAULT_SAMPLER } from './sampler-choice.ts';
import { TrainSession, type StepResult, type TrainState } from './session.ts';
import { parameters, slotOf } from './starts.ts';

const OPTIMISER = { beta1: 0.9, beta2: 0.98, eps: 1e-8, clip: 1 } as const;

/** One embodiment of a fine-tune, a slot of the bank of heads. */
interface Track {
  readonly input: FinetuneInput;
  readonly source: BatchSource;
  /** Episodes that are set aside for the sampler. */
  readonly aside: readonly number[];
}

/**
 * A fine-tune from a base: steps, checkpoints, and a policy version at the end, or one an embodiment where
 * several train together.
 */
export class Finetune {
  readonly totalSteps: number;
  /** What a step's graph is built from; absent where there are no steps. */
  readonly graph: TrainGraphOptions | undefined;
  private readonly common: FinetuneCommon;
  /** Names this job in its checkpoints. */
  private readonly job: string;
  private readonly tracks: readonly Track[];
  private readonly layout: FlatLayout;
  private readonly session: TrainSession | undefined;
  private readonly start: (name: string) => Float32Array;
  private next: { readonly step: number; readonly batch: Values } | undefined;

  private constructor(o: {
    common: FinetuneCommon;
    job: string;
    tracks: readonly Track[];
    layout: FlatLayout;
    session: TrainSession | undefined;
    graph?: TrainGraphOptions;
    start: (name: string) => Float32Array;
  }) {
    this.common = o.common;
    this.totalSteps = o.common.options.steps;
    this.job = o.job;
    this.tracks = o.tracks;
    this.layout = o.layout;
    this.session = o.session;
    this.graph = o.graph;
    this.start = o.start;
  }

  /**
   * Prepares a fine-tune: figures of the set, features of frozen parts once, the training graph.
   * @throws FinetuneError when the episodes do not fit the embodiment, the model or the version that
   * training goes on from, that version fits no job of this kind, or the checkpoint is of another job.
   */
  static async create(input: FinetuneInput): Promise<Finetune> {
    return Finetune.open(input, jobKey(input), [input]);
  }

  /**
   * Prepares a fine-tune of several embodiments: a batch has equally many rows of each, what moves of the trunk
   * is one for all, and every embodiment has a head and a normalisation of its own.
   * @throws FinetuneError as `create` does, naming `members.N.…`; also where the members' views, picture
   * sizes or horizons differ, the batch does not divide among them, or the mode moves nothing that they share.
   */
  static async createMixed(input: MixedFinetuneInput): Promise<Finetune> {
    const { members, ...common } = input;
    checkMixture(input);
    const inputs = members.map((member, slot) => ({
      ...common,
      ...member,
      options: shareOf(common.options, members.length, slot),
    }));
    const job = sha256(canonicalJson({ members: inputs.map(jobKey), options: common.options }));
    return Finetune.open(common, job, inputs);
  }

  private static async open(
    common: FinetuneCommon,
    job: string,
    inputs: readonly FinetuneInput[],
  ): Promise<Finetune> {
    const { engine, base, options } = common;
    const prepared = inputs.map((input, slot) => {
      try {
        return trackOf(input);
      } catch (error) {
        throw inputs.length === 1 ? error : ofMember(slot, error);
      }
    });
    const { layout, start } = parameters(inputs);
    const [first] = prepared;
    if (first === undefined) throw new FinetuneError('there is no embodiment', 'members');
    if (options.steps === 0) {
      return new Finetune({ common, job, tracks: prepared, layout, session: undefined, start });
    }
    const state = common.resume === undefined ? undefined : readCheckpoint(common.resume, job);
    const fromImages = trainsOnPictures(options.mode);
    const reads = (options.steps - (state?.step ?? 0)) * options.batchSize;
    const tracks = fromImages ? prepared : await withFeatures(common, prepared, reads);
    common.onProgress?.({ phase: 'compile', done: 0, total: 1 });
    const graph: TrainGraphOptions = {
      config: base.config,
      signature: first.source.signature,
      pictures: options.batchSize,
      instructions: 1,
      draws: options.draws,
      prefixed: options.prefixDelayMax > 0,
      spoken: first.input.options.spoken,
      slots: inputs.length,
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
    common.onProgress?.({ phase: 'compile', done: 1, total: 1 });
    return new Finetune({ common, job, tracks, layout, session, graph, start });
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
    return { ...result, samples: this.common.options.batchSize };
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
      { step: String(state.step), job: this.job },
    );
  }

  /**
   * Packs the averaged weights as a policy version, with the sampler chosen on episodes set aside.
   * @throws RangeError for several embodiments, which have a version each: `finishAll`.
   */
  async finish(): Promise<FinishedPolicy> {
    const [only, ...others] = await this.finishAll();
    if (only === undefined || others.length > 0) throw new RangeError('there are several versions');
    return only;
  }

  /**
   * A version of each embodiment, in order: its head, and the trunk or pairs that all of them share, which are
   * the same bytes.
   */
  async finishAll(): Promise<FinishedPolicy[]> {
    const averaged = await this.averaged();
    const shared = sharedFiles(this.common, averaged(0));
    const made: FinishedPolicy[] = [];
    for (const [slot, { input, source, aside }] of this.tracks.entries()) {
      const { normalisation } = source;
      const pack = (sampler: PolicyManifest['sampler']): FinishedPolicy =>
        packed(input, { normalisation, sampler, weights: averaged(slot), shared });
      const draft = pack(DEFAULT_SAMPLER);
      made.push(
        aside.length === 0
          ? draft
          : pack(
              await chooseSampler({
                engine: input.engine,
                base: input.base,
                policy: draft,
                episodes: aside.map((i) => input.episodes[i] as TrainingEpisode),
                onProgress: (done, total) => {
                  input.onProgress?.({
                    phase: 'sampler',
                    done: slot * total + done,
                    total: this.tracks.length * total,
                  });
                },
                ...(input.signal === undefined ? {} : { signal: input.signal }),
              }),
            ),
      );
    }
    return made;
  }

  async close(): Promise<void> {
    await this.session?.close();
  }

  private batch(step: number): Values {
    if (this.next?.step === step) return this.next.batch;
    return joined(this.tracks.map(({ source }) => trainingBatch(source, step)));
  }

  /** The weights that a version of the embodiment of a slot has. */
  private async averaged(): Promise<(slot: number) => (name: string) => Float32Array> {
    const trained =
      this.session === undefined
        ? new Map<string, Float32Array>()
        : unpackFlat(this.layout, (await this.session.state()).ema);
    const slots = this.tracks.length;
    return (slot) => (name) => {
      const data = trained.get(name) ?? this.start(name);
      return name.startsWith('head.') ? slotOf(data, slot, slots) : data;
    };
  }
}

/** Figures of an embodiment's set, and how its batches are made. */
function trackOf(input: FinetuneInput): Track {
  const { base, spec, episodes, options } = input;
  checkInput(input);
  const { training, aside } = setAside(episodes.length);
  const trained = training.map((i) => episodes[i] as TrainingEpisode);
  const normalisation = normalisationFor(input, trained);
  const source = {
    config: base.config,
    signature: signatureOf(spec),
    spec,
    normalisation,
    episodes,
    frames: framesOf(episodes, training),
    options,
    spread: postureSpread(normalisation, trained),
    weights: actionWeights(normalisation, input.stats.action.std, options.actionWeighting),
  };
  return { input, source, aside: options.steps === 0 ? [] : aside };
}

/** The same with the features that the frozen trunk gives of every frame. */
async function withFeatures(
  common: FinetuneCommon,
  tracks: readonly Track[],
  reads: number,
): Promise<Track[]> {
  const { base, engine, options, onProgress, signal } = common;
  const total = tracks.reduce((sum, { source }) => sum + source.frames.length, 0);
  const made: Track[] = [];
  let before = 0;
  for (const track of tracks) {
    const { config, signature, spec, episodes, frames } = track.source;
    const at = before;
    const features = await computeFeatures({
      engine,
      config,
      signature,
      spec,
      weights: base.trunk,
      specs: base.trunkSpecs,
      episodes,
      frames,
      blank: options.images === 'blank',
      ...(options.frozenWeights === undefined ? {} : { form: options.frozenWeights }),
      onQuantised: (difference) => {
        onProgress?.({ phase: 'quantised', done: 1, total: 1, ...difference });
      },
      onProgress: (done) => {
        onProgress?.({ phase: 'features', done: at + done, total, reads });
      },
      ...(signal === undefined ? {} : { signal }),
    });
    made.push({ ...track, source: { ...track.source, features } });
    before += frames.length;
  }
  return made;
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

import {
  WeightsError,
  canonicalJson,
  readWeights,
  sha256,
  standsOnBase,
  type BaseModel,
  type PolicyManifest,
} from '../checkpoint/index.ts';
import {
  PREPROCESS_HASH,
  TextError,
  decodeActions,
  decodeReasoning,
  encodeInstruction,
  stateJoints,
} from '../data/index.ts';
import type { QuantisedLayers, ServeGraph, Signature } from '../divla/index.ts';
import { keepsFeatures, type FrozenForm } from '@armature/sdk/contract';
import type { Engine, Value, Values } from '../engine/index.ts';
import { TRUNK_LORA, trunkPairs } from '../lora/trunk.ts';
import { elements, type ParamSpec } from '../nn/params.ts';
import type { Correction } from '../rtc/index.ts';
import { PolicyError } from './errors.ts';
import { actFeeds, reasoningFeed, slotFeed, viewFeeds } from './feeds.ts';
import { emitGraph, type GraphRequest, type GraphSource } from './graph.ts';
import type { ActResult, ActRow, PolicyHandle, Reasoning } from './handle.ts';

export interface RuntimeOptions {
  readonly engine: Engine;
  /** Makes reasonings alone, so that they never hold up actions; `engine` does unless told. */
  readonly reasonEngine?: Engine;
  readonly base: BaseModel;
  /** Batch sizes that graphs are built for, ascending. */
  readonly buckets?: readonly number[];
  /** Makes the graphs elsewhere, so that runs under way hardly notice; in the caller's thread unless told. */
  readonly graphs?: GraphSource;
  /** Heads that fit the bank at once. */
  readonly slots?: number;
  /**
   * Whether there are graphs that take guidance through the network, which cost a session and its memory
   * more for each that acts; rows that ask for it are refused without.
   */
  readonly pulledBack?: boolean;
  /** Prefix of everything that this runtime keeps in the engine; runtimes of one engine differ in it. */
  readonly name?: string;
}

const TRUNK_FILE = 'trunk.safetensors';
const DEFAULT_BUCKETS = [1, 2, 4, 8, 16, 32] as const;
/**
 * Batch sizes up to this have the base's trunk in their graphs, packed for its products: a fifth less
 * time for one row, a twentieth for eight. Every such graph costs 30 to 40 MB.
 */
const PACKED_ROWS = 2;

/**
 * Policies in an engine: banks of heads and of low-rank pairs that load and drop while serving,
 * trunks, and one session a graph, signature and batch size. Rows of several tenants and embodiments
 * share a run when they share a trunk; pairs stand beside the base's, so theirs is the base's. A run
 * without pairs has a graph that knows none, and costs what it would without them.
 */
export class PolicyRuntime {
  readonly maxBatch: number;
  /** Whether rows may ask for guidance through the network. */
  readonly pulledBack: boolean;
  private readonly engine: Engine;
  private readonly reasonEngine: Engine;
  private readonly base: BaseModel;
  private readonly buckets: readonly number[];
  private readonly free: number[];
  private readonly slots: number;
  private readonly name: string;
  private readonly baseTrunk: string;
  private readonly bank: string;
  private readonly pairBank: string;
  private readonly pairSpecs: readonly ParamSpec[];
  private pairsMade: Promise<void> | undefined;
  private readonly loaded = new Map<string, PolicyHandle>();
  /** Trunks that versions brought, by key: how many have it, and when it is in the engines. */
  private readonly trunks = new Map<string, { uses: number; readonly there: Promise<void> }>();
  private readonly sessions = new Map<string, Promise<LoadedGraph>>();
  private readonly graphs: GraphSource | undefined;
  /** The last graph that is being loaded: the engine takes one at a time, runs in between. */
  private loading: Promise<unknown> = Promise.resolve();

  private constructor(options: RuntimeOptions) {
    this.engine = options.engine;
    this.reasonEngine = options.reasonEngine ?? options.engine;
    this.base = options.base;
    this.graphs = options.graphs;
    this.buckets = options.buckets ?? DEFAULT_BUCKETS;
    this.slots = options.slots ?? 32;
    this.pulledBack = options.pulledBack ?? false;
    this.name = options.name ?? 'policy';
    this.baseTrunk = `${this.name}.trunk.base`;
    this.bank = `${this.name}.bank`;
    this.pairBank = `${this.name}.pairs`;
    this.pairSpecs = trunkPairs(TRUNK_LORA, options.base.trunkSpecs);
    this.maxBatch = Math.max(...this.buckets);
    this.free = Array.from({ length: this.slots }, (_, i) => this.slots - 1 - i);
  }

  static async create(options: RuntimeOptions): Promise<PolicyRuntime> {
    const runtime = new PolicyRuntime(options);
    const { base, engine } = options;
    await runtime.putTrunk(runtime.baseTrunk, base.trunk);
    await engine.put(runtime.bank, runtime.emptyBank(base.headSpecs));
    return runtime;
  }

  /** Why the model cannot read an instruction; undefined where it can. No row may have one that it cannot. */
  refusalOf(instruction: string): string | undefined {
    try {
      encodeInstruction(this.base.config, instruction);
      return undefined;
    } catch (error) {
      if (error instanceof TextError) return error.message;
      throw error;
    }
  }

  /**
   * Loads a policy version into a slot; a version that is there already is returned as it is.
   * @throws PolicyError when it was made for another pre-processing, base or shape, on frozen layers in a form
   * that is not computed here, its weights are not finite, or no slot is free.
   */
  async load(policy: {
    digest: string;
    manifest: PolicyManifest;
    files: Readonly<Record<string, Uint8Array>>;
  }): Promise<PolicyHandle> {
    const known = this.loaded.get(policy.digest);
    if (known !== undefined) return known;
    const { manifest, digest } = policy;
    this.checkCompatible(manifest);
    const head = this.weights(policy.files, 'head.safetensors', this.base.headSpecs);
    const trunk = standsOnBase(manifest)
      ? undefined
      : this.weights(policy.files, TRUNK_FILE, this.base.trunkSpecs);
    const pairs =
      manifest.mode === 'lora'
        ? this.weights(policy.files, 'lora.safetensors', this.pairSpecs)
        : undefined;
    const slot = this.free.pop();
    if (slot === undefined) {
      throw new PolicyError('no_slot', `all ${this.slots} slots hold a policy; unload one first`);
    }
    for (const spec of this.base.headSpecs) {
      const data = head.get(spec.name);
      if (data === undefined) throw new PolicyError('invalid_weights', `no ${spec.name}`);
      await this.engine.patch(this.bank, spec.name, slot * elements(spec.shape), data);
    }
    const key = trunk === undefined ? this.baseTrunk : this.trunkKey(policy.files);
    if (trunk !== undefined) await this.takeTrunk(key, trunk);
    if (pairs !== undefined) await this.putPairs(slot, pairs);
    const handle = handleOf(digest, manifest, slot, key);
    this.loaded.set(digest, handle);
    return handle;
  }

  /** Drops a policy; its slot is free for another. */
  async unload(handle: PolicyHandle): Promise<void> {
    if (!this.loaded.delete(handle.digest)) return;
    if (handle.trunk !== this.baseTrunk) await this.leaveTrunk(handle.trunk);
    // A head alone that gets the slot next may share runs with pairs: its own are zero.
    if (handle.manifest.mode === 'lora') await this.putPairs(handle.slot);
    this.free.push(handle.slot);
  }

  /** Drops everything that the runtime keeps in the engine; the engine goes on. */
  async close(): Promise<void> {
    for (const made of this.sessions.values()) {
      const { id, engine } = await made;
      await engine.unload(id);
    }
    for (const handle of [...this.loaded.values()]) await this.unload(handle);
    await this.engine.drop(this.bank);
    if (this.pairsMade !== undefined) {
      for (const engine of this.engines()) await engine.drop(this.pairBank);
    }
    await this.dropTrunk(this.baseTrunk);
    this.sessions.clear();
  }

  /** Rows with equal keys may share a run. */
  batchKey(handle: PolicyHandle): string {
    const { image, spec } = handle.manifest;
    const form = formOf(handle);
    return `${handle.trunk}|${form}|${image.width}x${image.height}|${spec.horizon}`;
  }

  /** Builds and runs every graph once for the batch sizes, so that no request meets a cold one. */
  async warm(handle: PolicyHandle, batches: readonly number[] = this.buckets): Promise<void> {
    const { spec, image } = handle.manifest;
    const blank = new Uint8Array(image.width * image.height * 3);
    const row: ActRow = {
      policy: handle,
      images: Object.fromEntries(spec.cameras.map((camera) => [camera.name, blank])),
      instruction: 'warm up',
      state: Float32Array.from(handle.manifest.normalisation.state.mean),
      seed: 0,
    };
    const previous = {
      actions: new Float32Array(spec.action.length),
      delay: 0,
      schedule: 'exp',
      correction: 'pulled-back',
    } as const;
    const kinds = this.pulledBack ? [row, { ...row, previous }] : [row];
    for (const size of batches) {
      for (const kind of kinds) {
        const rows = Array.from({ length: size }, () => kind);
        await this.act(rows);
        await this.reasonAndAct(rows);
      }
    }
  }

  /**
   * Has the graph ready that a run of these rows needs, without running it: once it is loaded, its first
   * run takes no longer than any other.
   */
  async prepare(kind: ServeGraph, rows: readonly ActRow[]): Promise<void> {
    const correction = rows[0] === undefined ? 'direct' : this.samplingOf(rows[0]).correction;
    await this.graphOf(kind, this.signature(rows), this.bucket(rows.length), rows, correction);
  }

  /** Chunks for rows of one batch key, driven by the reasonings that the rows carry. */
  async act(rows: readonly ActRow[]): Promise<ActResult[]> {
    return this.bySampler(rows, (same, how) => this.runAct('act', same, how));
  }

  /** New reasonings and the chunks that they drive, views encoded once. */
  async reasonAndAct(rows: readonly ActRow[]): Promise<ActResult[]> {
    return this.bySampler(rows, (same, how) => this.runAct('reason_and_act', same, how));
  }

  /** New reasonings alone. */
  async reason(rows: readonly ActRow[]): Promise<Reasoning[]> {
    const signature = this.signature(rows);
    const size = this.bucket(rows.length);
    const feeds = viewFeeds(this.base.config, signature, rows, size);
    if (hasPairs(rows)) feeds['slot'] = slotFeed(rows, size);
    return reasonings(await this.run('reason', signature, size, rows, feeds), rows.length);
  }

  private emptyBank(specs: readonly ParamSpec[]): Record<string, Value> {
    const bank: Record<string, Value> = {};
    for (const spec of specs) {
      const shape = [this.slots, ...spec.shape];
      bank[spec.name] = { dtype: 'float32', shape, data: new Float32Array(elements(shape)) };
    }
    return bank;
  }

  /** Sets a slot's pairs, to zero where none are given. The bank is made when the first come. */
  private async putPairs(slot: number, pairs?: ReadonlyMap<string, Float32Array>): Promise<void> {
    this.pairsMade ??= (async () => {
      for (const engine of this.engines()) {
        await engine.put(this.pairBank, this.emptyBank(this.pairSpecs));
      }
    })();
    await this.pairsMade;
    for (const { name, shape } of this.pairSpecs) {
      const size = elements(shape);
      const data = pairs === undefined ? new Float32Array(size) : pairs.get(name);
      if (data === undefined) throw new PolicyError('invalid_weights', `no ${name}`);
      for (const engine of this.engines()) {
        await engine.patch(this.pairBank, name, slot * size, data);
      }
    }
  }

  /** Names a trunk by its bytes: versions that were trained together have one, and share runs. */
  private trunkKey(files: Readonly<Record<string, Uint8Array>>): string {
    const bytes = files[TRUNK_FILE];
    if (bytes === undefined) {
      throw new PolicyError('invalid_weights', `the policy lacks ${TRUNK_FILE}`, TRUNK_FILE);
    }
    return `${this.name}.trunk.${sha256(bytes)}`;
  }

  private async takeTrunk(key: string, weights: ReadonlyMap<string, Float32Array>): Promise<void> {
    const known = this.trunks.get(key);
    if (known !== undefined) known.uses += 1;
    const { there } = known ?? this.newTrunk(key, weights);
    await there;
  }

  private newTrunk(
    key: string,
    weights: ReadonlyMap<string, Float32Array>,
  ): { readonly there: Promise<void> } {
    const made = { uses: 1, there: this.putTrunk(key, weights) };
    this.trunks.set(key, made);
    made.there.catch(() => this.trunks.delete(key));
    return made;
  }

  private async leaveTrunk(key: string): Promise<void> {
    const trunk = this.trunks.get(key);
    if (trunk === undefined) return;
    trunk.uses -= 1;
    if (trunk.uses > 0) return;
    this.trunks.delete(key);
    await this.dropTrunk(key);
  }

  private async putTrunk(key: string, weights: ReadonlyMap<string, Float32Array>): Promise<void> {
    const values = weightValues(this.base.trunkSpecs, weights);
    for (const engine of this.engines()) await engine.put(key, values);
  }

  private async dropTrunk(key: string): Promise<void> {
    for (const engine of this.engines()) await engine.drop(key);
  }

  private engines(): Set<Engine> {
    return new Set([this.engine, this.reasonEngine]);
  }

  private async runAct(
    kind: 'act' | 'reason_and_act',
    rows: readonly ActRow[],
    { steps, correction }: Sampling,
  ): Promise<ActResult[]> {
    const { config } = this.base;
    const signature = this.signature(rows);
    const size = this.bucket(rows.length);
    // Not spread: an object spread from two gets a hidden class of its own, which V8 keeps, each time.
    const feeds = Object.assign(
      viewFeeds(config, signature, rows, size),
      actFeeds(config, signature, rows, size, steps),
    );
    if (kind === 'act') feeds['reasoning'] = reasoningFeed(config, rows, size);
    const out = await this.run(kind, signature, size, rows, feeds, correction);
    const actions = out['actions']?.data;
    if (!(actions instanceof Float32Array)) throw new PolicyError('invalid_row', 'no actions');
    const spoken = kind === 'act' ? undefined : reasonings(out, rows.length);
    return rows.map((row, r) => {
      const { manifest, usesCommand } = row.policy;
      const reasoning = spoken?.[r] ?? row.reasoning;
      return {
        actions: decodeActions(
          manifest.normalisation,
          actions,
          r * signature.horizon * config.head.dims,
          signature.horizon,
          config.head.dims,
          row.state,
          usesCommand ? row.lastCommand : undefined,
        ),
        ...(reasoning === undefined ? {} : { reasoning }),
      };
    });
  }

  private async run(
    kind: ServeGraph,
    signature: Signature,
    size: number,
    rows: readonly ActRow[],
    feeds: Values,
    correction: Correction = 'direct',
  ): Promise<Values> {
    const trunk = this.trunkOf(rows);
    const graph = await this.graphOf(kind, signature, size, rows, correction);
    const { trunkInputs, banks } = graph;
    const resident =
      trunkInputs.length === 0 ? banks : Object.assign(addresses(trunkInputs, trunk), banks);
    // Nobody else has the feeds, and pictures are the most of them.
    return graph.engine.run(graph.id, feeds, { resident, move: true });
  }

  private trunkOf(rows: readonly ActRow[]): string {
    return rows[0]?.policy.trunk ?? this.baseTrunk;
  }

  /** The graph that a run of these rows needs; it is made where it is not there. */
  private graphOf(
    kind: ServeGraph,
    signature: Signature,
    size: number,
    rows: readonly ActRow[],
    correction: Correction,
  ): Promise<LoadedGraph> {
    const { external, wrist, width, height, horizon } = signature;
    const packed = this.trunkOf(rows) === this.baseTrunk && size <= PACKED_ROWS;
    const shape = `${external}e${wrist}w/${width}x${height}/${horizon}/${size}`;
    const paired = hasPairs(rows);
    const pulled = correction === 'direct' ? '' : `/${correction}`;
    const form = rows[0] === undefined ? 'float32' : formOf(rows[0].policy);
    const variant = `${packed ? '/base' : ''}${paired ? '/pairs' : ''}${pulled}`;
    const id = `${this.name}/${kind}/${form}${variant}/${shape}`;
    return this.session(id, {
      kind,
      signature,
      rows: size,
      slots: this.slots,
      packed,
      paired,
      correction,
      form,
    });
  }

  private session(id: string, wanted: GraphRequest): Promise<LoadedGraph> {
    const known = this.sessions.get(id);
    if (known !== undefined) return known;
    const made = (async (): Promise<LoadedGraph> => {
      const { model, inputs, optimised } =
        this.graphs === undefined
          ? { ...emitGraph(this.base, wanted), optimised: false }
          : await this.graphs.build(wanted);
      const engine = wanted.kind === 'reason' ? this.reasonEngine : this.engine;
      const load = this.loading.then(() => engine.load(id, model, { optimised }));
      this.loading = load.catch(() => undefined);
      await load;
      const named = (prefix: string) => inputs.filter((name) => name.startsWith(prefix));
      return {
        id,
        engine,
        trunkInputs: named('trunk.'),
        banks: {
          ...addresses(named('head.'), this.bank),
          ...addresses(named('lora.'), this.pairBank),
        },
      };
    })();
    this.sessions.set(id, made);
    made.catch(() => this.sessions.delete(id));
    return made;
  }

  /** Runs rows of different step counts or corrections apart, and puts the answers back in order. */
  private async bySampler(
    rows: readonly ActRow[],
    run: (rows: readonly ActRow[], how: Sampling) => Promise<ActResult[]>,
  ): Promise<ActResult[]> {
    if (rows.length === 0 || rows.length > this.maxBatch) {
      throw new PolicyError('invalid_row', `a batch has 1 to ${this.maxBatch} rows`);
    }
    const groups = new Map<string, { how: Sampling; indices: number[] }>();
    rows.forEach((row, i) => {
      const how = this.samplingOf(row);
      const key = `${how.steps} ${how.correction}`;
      const group = groups.get(key) ?? { how, indices: [] };
      group.indices.push(i);
      groups.set(key, group);
    });
    const results = new Array<ActResult>(rows.length);
    for (const { how, indices } of groups.values()) {
      const answers = await run(
        indices.map((i) => rows[i] as ActRow),
        how,
      );
      indices.forEach((i, k) => {
        results[i] = answers[k] as ActResult;
      });
    }
    return results;
  }

  private samplingOf({ sampler, policy, previous }: ActRow): Sampling {
    const { steps } = sampler ?? policy.manifest.sampler;
    const correction = previous?.correction ?? 'direct';
    if (correction === 'pulled-back' && !this.pulledBack) {
      throw new PolicyError(
        'invalid_row',
        'this runtime has no graphs that take guidance through the network',
        'previous.correction',
      );
    }
    return { steps, correction };
  }

  private bucket(count: number): number {
    const size = this.buckets.find((bucket) => bucket >= count);
    if (size === undefined) {
      throw new PolicyError('invalid_row', `a batch has at most ${this.maxBatch} rows`);
    }
    return size;
  }

  private signature(rows: readonly ActRow[]): Signature {
    const first = rows[0];
    if (first === undefined) throw new PolicyError('invalid_row', 'a batch needs at least one row');
    const key = this.batchKey(first.policy);
    let external = 0;
    let wrist = 0;
    for (const { policy } of rows) {
      if (this.batchKey(policy) !== key) {
        throw new PolicyError('invalid_row', 'the rows of a batch must share a batch key');
      }
      external = Math.max(external, policy.cameras.external.length);
      wrist = Math.max(wrist, policy.cameras.wrist.length);
    }
    const { image, spec } = first.policy.manifest;
    return { external, wrist, width: image.width, height: image.height, horizon: spec.horizon };
  }

  private checkCompatible(manifest: PolicyManifest): void {
    if (manifest.preprocess_hash !== PREPROCESS_HASH) {
      throw new PolicyError(
        'incompatible',
        `the policy was trained with pre-processing ${manifest.preprocess_hash}, this worker has ${PREPROCESS_HASH}`,
        'preprocess_hash',
      );
    }
    const form = manifest.frozen_weights;
    if (form !== undefined) this.checkForm(form, manifest.mode);
    const sharesLayers = standsOnBase(manifest) || form !== undefined;
    if (sharesLayers && manifest.base_digest !== this.base.digest) {
      throw new PolicyError(
        'incompatible',
        `the policy's ${manifest.mode} belongs to base ${manifest.base_digest.slice(0, 12)}, this worker has ${this.base.digest.slice(0, 12)}`,
        'base_digest',
      );
    }
    if (manifest.mode === 'lora' && canonicalJson(manifest.lora) !== canonicalJson(TRUNK_LORA)) {
      throw new PolicyError(
        'incompatible',
        `this worker gathers pairs of rank ${TRUNK_LORA.rank} and alpha ${TRUNK_LORA.alpha} at ${TRUNK_LORA.targets.join(', ')}; the policy has others`,
        'lora',
      );
    }
    const { dims } = this.base.config.head;
    if (manifest.spec.state.length > dims || manifest.spec.action.length > dims) {
      throw new PolicyError('incompatible', `at most ${dims} dimensions fit the head`, 'spec');
    }
  }

  private checkForm(form: QuantisedLayers['form'], mode: PolicyManifest['mode']): void {
    const field = 'frozen_weights';
    if (!keepsFeatures(mode)) {
      throw new PolicyError('incompatible', `mode ${mode} has no frozen layers in ${form}`, field);
    }
    for (const { executionProvider } of this.engines()) {
      if (executionProvider === 'cpu') continue;
      throw new PolicyError(
        'incompatible',
        `the policy was trained on features of layers in ${form} as CPUs compute them, this worker has ${executionProvider}`,
        field,
      );
    }
  }

  private weights(
    files: Readonly<Record<string, Uint8Array>>,
    name: string,
    specs: BaseModel['headSpecs'],
  ): Map<string, Float32Array> {
    const bytes = files[name];
    if (bytes === undefined)
      throw new PolicyError('invalid_weights', `the policy lacks ${name}`, name);
    try {
      return readWeights(specs, bytes).weights;
    } catch (error) {
      const reason = error instanceof WeightsError ? error.message : String(error);
      throw new PolicyError('invalid_weights', `${name}: ${reason}`, name, error);
    }
  }
}

/** What the rows of a run have in common beside their graph's shape. */
interface Sampling {
  readonly steps: number;
  readonly correction: Correction;
}

function formOf({ manifest }: PolicyHandle): FrozenForm {
  return manifest.frozen_weights ?? 'float32';
}

function hasPairs(rows: readonly ActRow[]): boolean {
  return rows.some((row) => row.policy.manifest.mode === 'lora');
}

/** A graph in its engine, with the weights that are bound to it in every run. */
interface LoadedGraph {
  readonly id: string;
  readonly engine: Engine;
  readonly trunkInputs: readonly string[];
  /** Where the engine keeps what comes from banks: input → address. */
  readonly banks: Readonly<Record<string, string>>;
}

/** Addresses of resident tensors that are kept under a key by the names of these inputs. */
function addresses(inputs: readonly string[], key: string): Record<string, string> {
  return Object.fromEntries(inputs.map((name) => [name, `${key}/${name}`]));
}

function weightValues(
  specs: BaseModel['trunkSpecs'],
  weights: ReadonlyMap<string, Float32Array>,
): Record<string, Value> {
  return Object.fromEntries(
    specs.map((spec) => {
      const data = weights.get(spec.name);
      if (data === undefined) throw new PolicyError('invalid_weights', `no ${spec.name}`);
      return [spec.name, { dtype: 'float32', shape: spec.shape, data } satisfies Value];
    }),
  );
}

function handleOf(
  digest: string,
  manifest: PolicyManifest,
  slot: number,
  trunk: string,
): PolicyHandle {
  const names = (kind: 'external' | 'wrist'): string[] =>
    manifest.spec.cameras.filter((camera) => camera.kind === kind).map((camera) => camera.name);
  return {
    digest,
    manifest,
    slot,
    trunk,
    joints: stateJoints(manifest.spec),
    cameras: { external: names('external'), wrist: names('wrist') },
    usesCommand: manifest.normalisation.action.some((a) => a.reference === 'last_command'),
  };
}

function reasonings(out: Values, count: number): Reasoning[] {
  const tokens = out['reasoning_tokens'];
  const embedding = out['reasoning'];
  if (!(tokens?.data instanceof BigInt64Array) || !(embedding?.data instanceof Float32Array)) {
    throw new PolicyError('invalid_row', 'the graph gave no reasoning');
  }
  const length = tokens.shape[1] ?? 0;
  const width = embedding.shape[1] ?? 0;
  return Array.from({ length: count }, (_, r) => ({
    ...decodeReasoning(
      Array.from(tokens.data.slice(r * length, (r + 1) * length) as BigInt64Array),
    ),
    embedding: embedding.data.slice(r * width, (r + 1) * width) as Float32Array,
  }));
}

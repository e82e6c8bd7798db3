import { canonicalJson, loadBase, sha256, writeWeights } from '@armature/policy/checkpoint';
import type { PolicyManifest } from '@armature/policy/checkpoint';
import { PREPROCESS_HASH, imageSize } from '@armature/policy/data';
import type { Engine } from '@armature/policy/engine';
import { elements } from '@armature/policy/nn';
import { PolicyRuntime, type ActResult, type ActRow } from '@armature/policy/runtime';
import { runClosedLoop } from '../closed-loop.ts';
import type { PolicyPort } from '../policy-port.ts';
import type { PretrainArm } from './batch.ts';
import type { PretrainModel } from './model.ts';

/**
 * Closed-loop success of arms of the family in scenes that training never saw, each with its own
 * head: successes and episodes.
 */
export async function closedLoopScore(o: {
  engine: Engine;
  model: PretrainModel;
  base: Uint8Array;
  weights: (name: string) => Float32Array;
  arms: readonly PretrainArm[];
  episodes: number;
  seed: number;
}): Promise<{ successes: number; episodes: number }> {
  const base = loadBase(o.base);
  const runtime = await PolicyRuntime.create({
    engine: o.engine,
    base,
    buckets: [16],
    slots: o.arms.length,
    name: 'score',
  });
  let successes = 0;
  for (const [index, arm] of o.arms.entries()) {
    const { spec } = arm.embodiment;
    const head = writeWeights(
      base.headSpecs,
      (name) => {
        const size = elements(base.headSpecs.find((s) => s.name === name)?.shape ?? []);
        return o.weights(name).slice(index * size, (index + 1) * size);
      },
      'F32',
      {},
    );
    const none = {
      names: [],
      mean: [],
      std: [],
      min: [],
      max: [],
      q01: [],
      q10: [],
      q50: [],
      q90: [],
      q99: [],
    };
    const manifest: PolicyManifest = {
      format: 'armature-policy/1',
      preset: 'nano',
      base_digest: base.digest,
      mode: 'head',
      spec,
      normalisation: arm.normalisation,
      stats: { state: none, action: none },
      stats_hash: sha256(canonicalJson(arm.normalisation)),
      preprocess_hash: PREPROCESS_HASH,
      image: imageSize(spec),
      sampler: { steps: 10, noise_scale: 0 },
      images: 'use',
      labels: 'sim',
      files: {},
    };
    const policy = await runtime.load({
      digest: `${index}`,
      manifest,
      files: { 'head.safetensors': head },
    });
    const lane = new Lane(runtime, 16);
    const open: PolicyPort = ({ instruction, episode }) =>
      Promise.resolve({
        act: async ({ images, state }) => {
          const row = { policy, images, state, instruction, seed: episode };
          return { actions: (await lane.ask(row)).actions };
        },
        close: () => Promise.resolve(),
      });
    const result = await runClosedLoop({
      embodiment: arm.embodiment,
      episodes: o.episodes,
      seed: o.seed,
      variant: 'normal',
      open,
      concurrency: 16,
    });
    successes += result.successes;
  }
  await runtime.close();
  return { successes, episodes: o.episodes * o.arms.length };
}

/** Puts what is asked while a batch runs into the next one. */
class Lane {
  private waiting: {
    row: ActRow;
    resolve: (a: ActResult) => void;
    reject: (e: unknown) => void;
  }[] = [];
  private busy = false;
  private readonly runtime: PolicyRuntime;
  private readonly size: number;

  constructor(runtime: PolicyRuntime, size: number) {
    this.runtime = runtime;
    this.size = size;
  }

  ask(row: ActRow): Promise<ActResult> {
    const answer = new Promise<ActResult>((resolve, reject) => {
      this.waiting.push({ row, resolve, reject });
    });
    setImmediate(() => void this.pump());
    return answer;
  }

  private async pump(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0, this.size);
      try {
        const answers = await this.runtime.act(batch.map(({ row }) => row));
        batch.forEach(({ resolve, reject }, i) => {
          const answer = answers[i];
          if (answer === undefined) reject(new RangeError('a row got no answer'));
          else resolve(answer);
        });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.busy = false;
  }
}

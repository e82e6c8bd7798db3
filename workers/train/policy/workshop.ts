import { featureStats } from '@armature/datasets';
import { manifestBytes, readManifest, sha256, type BaseModel } from '@armature/policy/checkpoint';
import { imageSize, PREPROCESS_HASH, PREPROCESS_MODULE } from '@armature/policy/data';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime } from '@armature/policy/runtime';
import { Finetune, resolveOptions, type FinetuneInput } from '@armature/policy/train';
import type { Trainer, Workshop } from '../job/workshop.ts';
import { translating } from './errors.ts';
import { runtimePredictor } from './predictor.ts';

/** Rows of one run in evaluation. */
const EVALUATION_BATCH = 32;

export interface PolicyWorkshopOptions {
  readonly base: BaseModel;
  readonly threads: number;
  readonly executionProvider: 'cpu' | 'webgpu' | 'cuda';
}

/** The real policy in an engine of the job's own, whose memory goes back when the job ends. */
export async function openPolicyWorkshop(options: PolicyWorkshopOptions): Promise<Workshop> {
  const { base } = options;
  const engine = await Engine.start({
    threads: options.threads,
    name: 'train',
    executionProvider: options.executionProvider,
  });
  return {
    preprocessHash: PREPROCESS_HASH,
    preprocessModule: PREPROCESS_MODULE,
    imageSize,
    train: (o) =>
      translating(async () => {
        const names = (joints: readonly { name: string }[]): string[] =>
          joints.map(({ name }) => name);
        const finetune = await Finetune.create({
          engine,
          base,
          spec: o.spec,
          stats: {
            state: featureStats(
              names(o.spec.state),
              o.episodes.map(({ state }) => state),
            ),
            action: featureStats(
              names(o.spec.action),
              o.episodes.map(({ action }) => action),
            ),
          },
          episodes: o.episodes,
          options: resolveOptions(o.options),
          onProgress: o.onProgress,
          signal: o.signal,
          ...(o.resume === null ? {} : { resume: o.resume }),
          ...(o.from === null
            ? {}
            : {
                from: {
                  digest: o.from.digest,
                  manifest: readManifest(o.from.manifestBytes),
                  files: o.from.files,
                },
              }),
        } satisfies FinetuneInput);
        return trainerOf(finetune);
      }),
    sealed: (version, provenance) => {
      const manifest = { ...readManifest(version.manifestBytes), provenance };
      const bytes = manifestBytes(manifest);
      return { digest: sha256(bytes), manifest, manifestBytes: bytes, files: version.files };
    },
    predictor: async ({ version, episodes }) => {
      const runtime = await PolicyRuntime.create({
        engine,
        base,
        buckets: [EVALUATION_BATCH],
        slots: 1,
        name: 'evaluation',
      });
      const policy = await runtime.load({
        digest: version.digest,
        manifest: readManifest(version.manifestBytes),
        files: version.files,
      });
      const predict = runtimePredictor(runtime, policy, episodes);
      return {
        predict: (queries) => translating(() => predict(queries)),
        close: () => runtime.close(),
      };
    },
    close: () => engine.close(),
  };
}

function trainerOf(finetune: Finetune): Trainer {
  return {
    totalSteps: finetune.totalSteps,
    get stepIndex() {
      return finetune.stepIndex;
    },
    step: (elapsed) => finetune.step(elapsed),
    checkpoint: () => finetune.checkpoint(),
    finish: async () => {
      const { digest, manifest, files } = await finetune.finish();
      return { digest, manifest, manifestBytes: manifestBytes(manifest), files };
    },
    close: () => finetune.close(),
  };
}

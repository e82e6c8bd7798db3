import { featureStats } from '@armature/datasets';
import type { BaseModel } from '@armature/policy/checkpoint';
import { imageSize, preprocessImage } from '@armature/policy/data';
import type { Engine } from '@armature/policy/engine';
import {
  Finetune,
  type FinetuneInput,
  type FinishedPolicy,
  resolveOptions,
  type TrainingEpisode,
} from '@armature/policy/train';
import { type FinetuneMode, finetuneOptionsSchema, type FrozenForm } from '@armature/sdk/contract';
import { type Embodiment, recordDemos } from '@armature/sim';

const SEED = 1;

/** Demonstrations of a simulated embodiment as training reads them. */
export async function demonstrations(
  embodiment: Embodiment,
  count: number,
  seed = SEED,
): Promise<TrainingEpisode[]> {
  const { spec } = embodiment;
  const target = imageSize(spec);
  const episodes: TrainingEpisode[] = [];
  for await (const episode of recordDemos({ embodiment, episodes: count, seed })) {
    const pictures = new Map(
      spec.cameras.map((camera) => [
        camera.name,
        (episode.frames[camera.name] ?? []).map((picture) =>
          preprocessImage(picture, camera.width, camera.height, target),
        ),
      ]),
    );
    episodes.push({
      index: episodes.length,
      length: episode.length,
      instruction: episode.task,
      state: episode.state,
      action: episode.action,
      labels: episode.labels,
      image: (camera, t) => {
        const picture = pictures.get(camera)?.[t];
        if (picture === undefined) throw new RangeError(`no frame ${t} of ${camera}`);
        return picture;
      },
    });
  }
  return episodes;
}

/** What a fine-tune of these demonstrations starts from. */
export function finetuneInput(
  engine: Engine,
  base: BaseModel,
  embodiment: Embodiment,
  episodes: readonly TrainingEpisode[],
  options: {
    readonly mode: FinetuneMode;
    readonly steps: number;
    readonly batch_size?: number;
    readonly prefix_delay_max?: number;
    readonly frozen_weights?: FrozenForm;
  },
): FinetuneInput {
  const { spec } = embodiment;
  const names = (joints: readonly { readonly name: string }[]) => joints.map(({ name }) => name);
  return {
    engine,
    base,
    spec,
    episodes,
    stats: {
      state: featureStats(
        names(spec.state),
        episodes.map((episode) => episode.state),
      ),
      action: featureStats(
        names(spec.action),
        episodes.map((episode) => episode.action),
      ),
    },
    options: resolveOptions(finetuneOptionsSchema.parse(options)),
  };
}

/** A policy version trained on these demonstrations, with the sampler that training chose. */
export async function trainedPolicy(
  ...given: Parameters<typeof finetuneInput>
): Promise<FinishedPolicy> {
  const finetune = await Finetune.create(finetuneInput(...given));
  while (finetune.stepIndex < finetune.totalSteps) await finetune.step();
  const policy = await finetune.finish();
  await finetune.close();
  return policy;
}

/** A policy version with a fresh head: as fast as a trained one. */
export async function freshPolicy(
  engine: Engine,
  base: BaseModel,
  embodiment: Embodiment,
): Promise<FinishedPolicy> {
  const episodes = await demonstrations(embodiment, 3);
  return trainedPolicy(engine, base, embodiment, episodes, { mode: 'head', steps: 0 });
}

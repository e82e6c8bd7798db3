import path from 'node:path';
import { fromDirectory, openDataset } from '@armature/datasets';
import { ArmatureError, embodimentSchema, type Embodiment } from '@armature/sdk/contract';
import { armature } from '../cli.ts';
import { finetune, push, type PushedDataset, type Stage, type TrainedPolicy } from '../jobs.ts';
import type { DemoOptions } from '../options.ts';
import type { Outcome } from '../outcome.ts';
import { recordsOf, servingSummary } from '../serving.ts';
import { streamEpisode } from '../stream.ts';
import { cameraEpisode } from './camera-episode.ts';
import { evaluationSummary } from './evaluation-summary.ts';
import { stripOf } from './strip.ts';

/** The demo with a customer's recordings. */
export async function runRecorded(
  stage: Stage,
  options: DemoOptions & { readonly dataset: string },
): Promise<Outcome> {
  const { client, screen, signal } = stage;
  const name = nameOf(options.dataset);

  screen.heading('The robot and its demonstrations');
  const embodiment = await register(stage, options.dataset);
  const { spec } = embodiment;
  const upload = (dir: string): Promise<PushedDataset> =>
    push(stage, { dir, name: nameOf(dir), embodimentId: embodiment.id });
  const training = await upload(options.dataset);
  const heldout = options.heldout === undefined ? undefined : await upload(options.heldout);

  screen.heading('Fine-tuning');
  const train = (label: string, images: 'use' | 'blank'): Promise<TrainedPolicy> =>
    finetune(stage, {
      name: `${name}: ${label}`,
      datasetId: training.dataset.id,
      ...(heldout === undefined ? {} : { heldoutId: heldout.dataset.id }),
      options: {
        mode: 'full',
        reference: options.reference,
        images,
        ...(options.seconds === undefined ? {} : { max_seconds: options.seconds }),
      },
    });
  const trained = await train('fine-tune', 'use');
  const ablated = options.ablate ? await train('without pictures', 'blank') : undefined;
  const { evaluation, train: trainSummary } = trained.finetune;
  if (trainSummary === null) throw new ArmatureError('internal', 'the fine-tune tells no training');

  screen.heading('Deployed, and an episode streamed at its own rate');
  await client.policies.deploy({ id: trained.policyVersionId }, { signal });
  const recordings = await openDataset(fromDirectory(options.heldout ?? options.dataset));
  const first = recordings.episodes[0];
  if (first === undefined)
    throw new ArmatureError('empty_dataset', 'there is no episode to stream');
  const episode = await cameraEpisode(stage, recordings, spec, first.index);
  const stream = await screen.task(`stream episode ${first.index}`, async (progress) => {
    const result = await streamEpisode(stage, episode, {
      robot: name,
      embodimentId: embodiment.id,
      progress,
    });
    progress.done(`${result.received.chunks} chunks for ${episode.length} frames`);
    return result;
  });
  const records = await recordsOf(stage, [stream]);

  const { report } = training;
  return {
    title: `${name}: demonstrations to a served policy`,
    lead: `${report.episodes} recorded episodes of ${report.robot_type}, fine-tuned and served on this machine through the public interfaces.`,
    summary: {
      dataset: { name, episodes: report.episodes, frames: report.frames },
      ingest: {
        frames_per_s: report.ingest.frames_per_s,
        peak_rss_mb: report.ingest.peak_rss_mb,
      },
      train: trainSummary,
      ...(evaluation === null
        ? {}
        : { eval: evaluationSummary(evaluation, ablated?.finetune.evaluation ?? null) }),
      serve: servingSummary([stream], spec.horizon),
      ...records,
    },
    trainings: [{ name, points: trained.points }],
    evaluation,
    strip: await stripOf(episode, stream),
    latencies: stream.latencies,
    closedLoop: [],
  };
}

/** Registers the robot that a data set was recorded with, as its files describe it. */
async function register(stage: Stage, dir: string): Promise<Embodiment> {
  const { screen, credentials, signal } = stage;
  const words = ['embodiments', 'create', '--from-dataset', dir];
  screen.line(`armature ${words.join(' ')}`);
  const embodiment = embodimentSchema.parse(await armature(credentials, words, signal));
  const { spec } = embodiment;
  const cameras = spec.cameras.map(({ name, width, height }) => `${name} ${width}×${height}`);
  screen.line(
    `${embodiment.id}: ${spec.action.length} joints, ${cameras.join(', ')}, ${spec.control_hz} Hz`,
  );
  return embodiment;
}

function nameOf(dir: string): string {
  return path.basename(path.resolve(dir));
}

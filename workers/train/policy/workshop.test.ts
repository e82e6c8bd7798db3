import { readFile } from 'node:fs/promises';
import { baseWeightsUrl, loadBase, readManifest } from '@armature/policy/checkpoint';
import { finetuneOptionsSchema, type FinetuneOptions } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { discPicture, smallEpisode, smallSpec } from '../../../test/support/small-dataset.ts';
import {
  ResumeRefused,
  type Demonstration,
  type TrainedVersion,
  type Workshop,
} from '../job/workshop.ts';
import { openPolicyWorkshop } from './workshop.ts';

const STEPS = 4;
const options = (over: Partial<FinetuneOptions> = {}): FinetuneOptions =>
  finetuneOptionsSchema.parse({ steps: STEPS, batch_size: 4, ...over });

let workshop: Workshop;
let episodes: Demonstration[];

beforeAll(async () => {
  workshop = await openPolicyWorkshop({
    base: loadBase(await readFile(baseWeightsUrl('nano'))),
    threads: 1,
    executionProvider: 'cpu',
  });
  const size = workshop.imageSize(smallSpec);
  episodes = [0, 1].map((index) => {
    const { state, action, task } = smallEpisode(index, 20);
    return {
      index,
      length: 20,
      instruction: task,
      state,
      action,
      labels: [{ from: 0, to: 20, text: 'Reach for the disc.', source: 'test' }],
      image: (_, t) => discPicture(index, t, size.width),
    };
  });
});
afterAll(() => workshop.close());

function train(resume: Uint8Array | null, over: Partial<FinetuneOptions> = {}) {
  return workshop.train({
    spec: smallSpec,
    episodes,
    options: options(over),
    from: null,
    resume,
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
}

async function finished(resume: Uint8Array | null): Promise<TrainedVersion> {
  const trainer = await train(resume);
  while (trainer.stepIndex < trainer.totalSteps) await trainer.step(0);
  const version = await trainer.finish();
  await trainer.close();
  return version;
}

describe('openPolicyWorkshop', () => {
  it('resumes the real trainer bit for bit and predicts as the seeds say', async () => {
    const wanted = await finished(null);
    const first = await train(null);
    await first.step(0);
    await first.step(0);
    const checkpoint = await first.checkpoint();
    await first.close();
    const resumed = await finished(checkpoint);
    expect(resumed.digest).toBe(wanted.digest);

    const other = train(checkpoint, { seed: 1 });
    await expect(other).rejects.toBeInstanceOf(ResumeRefused);

    const predictor = await workshop.predictor({ version: wanted, episodes });
    const sampler = { steps: 3, noise_scale: 1 };
    const query = { episode: 1, t: 9, seeds: [1, 2, 1], sampler, blank: false };
    const [chunks = [], blank = []] = await predictor.predict([query, { ...query, blank: true }]);
    await predictor.close();
    expect(chunks.map((chunk) => chunk.length)).toEqual([24, 24, 24]);
    expect(chunks[2]).toEqual(chunks[0]);
    expect(chunks[1]).not.toEqual(chunks[0]);
    expect(blank[0]).not.toEqual(chunks[0]);
    expect(chunks.every((chunk) => chunk.every(Number.isFinite))).toBe(true);
  });

  it('goes on from a version, and says in the tenant’s words where it cannot', async () => {
    const first = await finished(null);
    const next = (from: TrainedVersion, spec = smallSpec) =>
      workshop.train({
        spec,
        episodes,
        options: options(),
        from,
        resume: null,
        onProgress: () => undefined,
        signal: new AbortController().signal,
      });
    const trainer = await next(first);
    const version = await trainer.finish();
    await trainer.close();
    expect(readManifest(version.manifestBytes).continues).toBe(first.digest);
    const other = {
      ...smallSpec,
      references: { ...smallSpec.references, arm: 'absolute' as const },
    };
    await expect(next(first, other)).rejects.toMatchObject({
      code: 'invalid_request',
      field: 'options.base_policy_version_id',
    });
  });

  it('says in the tenant’s words what cannot be trained on', async () => {
    const mute = episodes.map((episode) => ({ ...episode, instruction: '' }));
    const attempt = workshop.train({
      spec: smallSpec,
      episodes: mute,
      options: options(),
      from: null,
      resume: null,
      onProgress: () => undefined,
      signal: new AbortController().signal,
    });
    await expect(attempt).rejects.toMatchObject({ code: 'invalid_dataset', field: 'task' });
  });
});

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromDirectory, openDataset, type Dataset } from '@armature/datasets';
import { DiskStore } from '@armature/storage';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  smallRecording,
  smallSpec,
  writeSmallDataset,
} from '../../../test/support/small-dataset.ts';
import { openLabeller, type LabellerOptions } from './labels.ts';

let folder: string;
let set: { directory: string; remove: () => Promise<void> };
let dataset: Dataset;
let store: DiskStore;
let endpoint: Server;
let asked = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'armature-labels-'));
  set = await writeSmallDataset(smallRecording(2, 20));
  dataset = await openDataset(fromDirectory(set.directory));
  store = new DiskStore({
    kind: 'disk',
    root: folder,
    publicUrl: 'http://localhost',
    secret: 'x'.repeat(32),
  });
  endpoint = createServer((_, response) => {
    asked += 1;
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        id: 'x',
        object: 'chat.completion',
        created: 0,
        model: 'm',
        choices: [
          {
            index: 0,
            finish_reason: 'stop',
            message: { role: 'assistant', content: 'Reach for the disc.' },
          },
        ],
      }),
    );
  });
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  endpoint.close();
  await set.remove();
  await rm(folder, { recursive: true });
});

function options(over: Partial<LabellerOptions>): LabellerOptions {
  return {
    how: 'joints',
    vision: null,
    store,
    derivedPrefix: 'tenants/t/datasets/d/derived/',
    spec: smallSpec,
    signal: new AbortController().signal,
    ...over,
  };
}

async function stored(how: string): Promise<unknown[]> {
  const bytes = await store.get(`tenants/t/datasets/d/derived/labels-${how}.jsonl`);
  const lines = new TextDecoder().decode(bytes).trim().split('\n');
  return lines.map((line): unknown => JSON.parse(line));
}

describe('openLabeller', () => {
  it('labels from joints and stores what it wrote with its source', async () => {
    const labeller = await openLabeller(options({}));
    const labels = await labeller.label(await dataset.readEpisode(1), dataset);
    await labeller.save();
    expect(labels.length).toBeGreaterThan(1);
    expect(labels.every(({ source }) => source === 'joints')).toBe(true);
    expect(await stored('joints')).toEqual([{ episode_index: 1, labels }]);
  });

  it('asks a vision endpoint once, however often the set is used', async () => {
    const { port } = endpoint.address() as AddressInfo;
    const vision = { url: `http://127.0.0.1:${port}/v1`, key: 'none', model: 'm' };
    const episode = await dataset.readEpisode(0);
    const first = await openLabeller(options({ how: 'vision_endpoint', vision }));
    const labels = await first.label(episode, dataset);
    await first.save();
    expect(labels[0]).toMatchObject({ text: 'Reach for the disc.', source: 'vision:m' });
    const before = asked;
    const second = await openLabeller(options({ how: 'vision_endpoint', vision }));
    expect(await second.label(episode, dataset)).toEqual(labels);
    expect(asked).toBe(before);
  });

  it('refuses vision where none is configured, and writes nothing when told so', async () => {
    await expect(openLabeller(options({ how: 'vision_endpoint' }))).rejects.toMatchObject({
      code: 'invalid_request',
      field: 'options.labels',
    });
    const silent = await openLabeller(options({ how: 'none' }));
    expect(await silent.label(await dataset.readEpisode(0), dataset)).toEqual([]);
  });
});

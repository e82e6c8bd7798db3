import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { writeLeRobot } from '@armature/datasets';
import { startPlatform } from '@armature/infra/platform';
import { Armature, connectRobot, pushDataset, type Chunk, waitForFinetune } from '@armature/sdk';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import { recordDemos, trio } from '@armature/sim';
import sharp from 'sharp';
import type { Figure, PartOptions } from '../result.ts';
import { latencyFigures } from '../timing.ts';

const SIDE = 224;
const CHUNKS = 200;
const ROBOTS = 32;
const CHUNKS_A_ROBOT = 20;
const WARMUP = 10;

/** Two 224-pixel JPEGs an observation: an external and a wrist view. */
const spec: EmbodimentSpec = {
  ...trio.spec,
  name: 'bench',
  cameras: trio.spec.cameras.map((camera) => ({ ...camera, width: SIDE, height: SIDE })),
};

interface Served {
  readonly client: Armature;
  readonly embodimentId: string;
  readonly jpeg: Uint8Array;
}

/**
 * The whole platform over loopback: one robot that asks again as soon as it has its chunk, then 32
 * of them. What the platform adds is a chunk's latency at the robot less the time of its run.
 */
export async function measureServe({ scratch, threads }: PartOptions): Promise<Figure[]> {
  const platform = await startPlatform({
    dir: path.join(scratch, 'platform'),
    environment: {
      PATH: process.env['PATH'] ?? '',
      ENGINE_THREADS: String(threads),
      LOG_LEVEL: 'warn',
    },
    durable: false,
  });
  try {
    const client = new Armature({ apiUrl: platform.apiUrl, apiKey: platform.apiKey });
    const served = { client, ...(await prepare(client, scratch)) };
    const off = await robot(served, 'off', CHUNKS);
    const every = await robot(served, 'every_chunk', CHUNKS);
    const started = performance.now();
    const fleet = await Promise.all(
      Array.from({ length: ROBOTS }, () => robot(served, 'every_chunk', CHUNKS_A_ROBOT)),
    );
    const seconds = (performance.now() - started) / 1000;
    const many = fleet.flat();
    return [
      ...peakMemory(platform.pid('serve')),
      ...oneRobot('one robot, without reasoning', off),
      ...oneRobot('one robot, with reasoning', every),
      ...latencyFigures(`${ROBOTS} robots, with reasoning`, many.map(latencyOf)),
      {
        name: `${ROBOTS} robots, with reasoning`,
        value: (ROBOTS * (CHUNKS_A_ROBOT + WARMUP)) / seconds,
        unit: 'chunks/s',
      },
      {
        name: `${ROBOTS} robots, rows a run`,
        value: many.reduce((sum, chunk) => sum + chunk.timings.batch, 0) / many.length,
        unit: '',
      },
    ];
  } finally {
    await platform.stop();
  }
}

/** Peak resident memory of a process, where the system tells it. */
function peakMemory(pid: number | undefined): Figure[] {
  const status = `/proc/${pid ?? ''}/status`;
  if (!existsSync(status)) return [];
  const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(status, 'utf8'))?.[1];
  if (kilobytes === undefined) return [];
  return [{ name: 'worker, peak memory', value: (Number(kilobytes) * 1024) / 1e6, unit: 'MB' }];
}

type Answer = Pick<Chunk<EmbodimentSpec>, 'latencyMs' | 'timings'>;

const latencyOf = (chunk: Answer): number => chunk.latencyMs;

function oneRobot(name: string, chunks: readonly Answer[]): Figure[] {
  const overhead = chunks.map(({ latencyMs, timings }) => latencyMs - timings.infer_ms);
  const mean = chunks.reduce((sum, chunk) => sum + chunk.latencyMs, 0) / chunks.length;
  return [
    ...latencyFigures(`${name}: latency`, chunks.map(latencyOf)),
    ...latencyFigures(`${name}: over the run`, overhead),
    { name, value: 1000 / mean, unit: 'chunks/s' },
  ];
}

/** Chunks of one robot, asked for one after the other, without the first few. */
async function robot(
  { client, embodimentId, jpeg }: Served,
  reasoning: 'off' | 'every_chunk',
  count: number,
): Promise<Answer[]> {
  const session = await connectRobot({
    client,
    embodiment: spec,
    session: {
      robot: 'bench',
      embodiment_id: embodimentId,
      reasoning: { when: reasoning },
      max_hz: 1000,
    },
    requestTimeoutMs: 60_000,
  });
  const images = Object.fromEntries(spec.cameras.map(({ name }) => [name, { jpeg }]));
  const state = new Float32Array(spec.state.length);
  const chunks: Answer[] = [];
  try {
    for (let asked = 0; asked < WARMUP + count; asked++) {
      const { latencyMs, timings } = await session.act({ instruction: 'bench', state, images });
      if (asked >= WARMUP) chunks.push({ latencyMs, timings });
    }
  } finally {
    await session.close();
  }
  return chunks;
}

/** A deployed version with a fresh head, which is as fast as a trained one. */
async function prepare(client: Armature, scratch: string): Promise<Omit<Served, 'client'>> {
  const { id: embodimentId } = await client.embodiments.create({ spec });
  const dir = path.join(scratch, 'recorded');
  await writeLeRobot(dir, {
    robotType: spec.name,
    fps: spec.control_hz,
    stateNames: spec.state.map((joint) => joint.name),
    actionNames: spec.action.map((joint) => joint.name),
    cameras: spec.cameras,
    episodes: enlarged(),
  });
  const dataset = await pushDataset({ client, dir, name: 'bench', embodimentId, pollMs: 100 });
  const job = await client.finetunes.create({
    name: 'bench',
    dataset_id: dataset.id,
    options: { mode: 'head', steps: 0 },
  });
  const done = await waitForFinetune({ client, id: job.id, pollMs: 100 });
  if (done.policy_version_id === null) throw new Error('the fine-tune gave no policy version');
  await client.policies.deploy({ id: done.policy_version_id });
  for await (const { frames } of enlarged()) {
    const [pixels] = Object.values(frames)[0] ?? [];
    if (pixels === undefined) throw new Error('an episode has pictures');
    return { embodimentId, jpeg: await picture(pixels, SIDE).jpeg({ quality: 90 }).toBuffer() };
  }
  throw new Error('there is an episode');
}

/** A demonstration of the simulator with its pictures enlarged. */
async function* enlarged() {
  for await (const episode of recordDemos({ embodiment: trio, episodes: 1, seed: 1 })) {
    const frames: Record<string, Uint8Array[]> = {};
    for (const { name, width } of trio.spec.cameras) {
      const own = episode.frames[name] ?? [];
      frames[name] = await Promise.all(
        own.map((pixels) => picture(pixels, width).resize(SIDE, SIDE).raw().toBuffer()),
      );
    }
    yield { ...episode, frames };
  }
}

function picture(pixels: Uint8Array, side: number): ReturnType<typeof sharp> {
  return sharp(pixels, { raw: { width: side, height: side, channels: 3 } });
}

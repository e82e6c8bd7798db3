import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { startPlatform } from '@armature/infra/platform';
import type { Figure, PartMeasurement, PartOptions } from '../../result.ts';
import { latencyFigures, quantile } from '../../timing.ts';
import { againstOpenpi } from './against-openpi.ts';
import { newTenant, prepare, type Served } from './fleet.ts';
import { bareMachine } from './bare/bare-machine.ts';
import { manyRobots, oneRobot, robotFigures, ROBOTS } from './asking.ts';
import { heldRobots } from './held.ts';
import { policyLoads } from './loads.ts';
import { theWay } from './way.ts';

/** How much is measured: all of it, or just enough to see that it works. */
const SIZES = {
  full: {
    chunks: 2_000,
    warmup: 1_000,
    chunksARobot: 10,
    tenants: 8,
    pool: 160,
    rates: [10, 20, 50, 80],
    trialMs: 3_000,
    rests: 200,
    loads: 3,
    cuts: 10,
    peerMs: 4_000,
  },
  quick: {
    chunks: 20,
    warmup: 10,
    chunksARobot: 5,
    tenants: 2,
    pool: 24,
    rates: [20],
    trialMs: 800,
    rests: 20,
    loads: 1,
    cuts: 2,
    peerMs: 800,
  },
} as const;
/** About what a chunk of 16 actions weighs. */
const CHUNK_BYTES = 2_000;
type Size = (typeof SIZES)[keyof typeof SIZES];

/**
 * The whole platform over loopback: what it adds to one robot's runs, how many robots it holds, many
 * tenants in one batch, policies that come and go, connections that break, and its openpi endpoint
 * beside openpi's own loop.
 */
export async function measureServe(options: PartOptions): Promise<PartMeasurement> {
  const { scratch, threads, quick } = options;
  const size: Size = quick ? SIZES.quick : SIZES.full;
  const platform = await startPlatform({
    dir: path.join(scratch, 'platform'),
    environment: {
      PATH: process.env['PATH'] ?? '',
      ENGINE_THREADS: String(threads),
      // What is held is found by measuring; nothing is refused beforehand.
      ADMISSION_FILL: '100',
      LOG_LEVEL: 'warn',
    },
    durable: false,
  });
  try {
    const fleet: Served[] = [];
    for (let i = 0; i < size.tenants; i++) {
      fleet.push(await prepare(await newTenant(platform, `bench ${i}`), scratch));
    }
    const [served] = fleet;
    if (served === undefined) throw new Error('there is a tenant');
    // Before what counts: processes that have just started still compile, and clear their heaps once idle.
    const started = await oneRobot(served, 'off', size);
    const off = await oneRobot(served, 'off', size);
    const every = await oneRobot(served, 'every_chunk', size);
    const bare = await bareMachine({
      up: 2 * served.jpeg.length,
      down: CHUNK_BYTES,
      count: size.rests,
      restMs: quantile(
        off.map(({ timings }) => timings.infer_ms),
        0.5,
      ),
    });
    await loopLag(platform.gatewayUrl);
    const mixed = await manyRobots(fleet, size.chunksARobot);
    const lag = await loopLag(platform.gatewayUrl);
    const held = await heldRobots(fleet, size, mixed.chunksPerS);
    const loads = await policyLoads(served, size.loads);
    const way = await theWay(served, size.cuts);
    const peers = await againstOpenpi(size.peerMs);
    const overhead = off.map(({ latencyMs, timings }) => latencyMs - timings.infer_ms);
    return {
      figures: [
        ...peakMemory(platform.pid('serve')),
        ...robotFigures('one robot, the platform just started', started),
        ...robotFigures('one robot, without reasoning', off),
        ...robotFigures('one robot, with reasoning', every),
        ...latencyFigures(
          'the machine alone: as many bytes by a bare socket, and back',
          bare.socketMs,
        ),
        ...latencyFigures('the machine alone: to a thread and back', bare.threadMs),
        ...mixed.figures,
        {
          name: `${ROBOTS} robots against runs one by one`,
          value: mixed.againstSolo,
          unit: 'times',
        },
        { name: `${ROBOTS} robots: lag of the gateway’s event loop p99`, value: lag, unit: 'ms' },
        ...held.figures,
        ...loads,
        ...way,
        ...peers.figures,
      ],
      summary: {
        loop_lag_ms: { p99: lag },
        overhead_ms: { p50: quantile(overhead, 0.5), p99: quantile(overhead, 0.99) },
        held_actions_per_s: held.most,
        ratios: { mixed_vs_solo: mixed.againstSolo, ...peers.ratios },
      },
    };
  } finally {
    await platform.stop();
  }
}

/** How late the worker's event loop was since this was last asked, 99th percentile, ms. */
async function loopLag(gatewayUrl: string): Promise<number> {
  const url = new URL('/metrics', gatewayUrl.replace(/^ws/, 'http'));
  const text = await (await fetch(url)).text();
  const seconds = /^\S*event_loop_lag_seconds\{.*quantile="0\.99".*\} (\S+)$/m.exec(text)?.[1];
  if (seconds === undefined) throw new Error(`${url.href} tells no lag of the event loop`);
  return Number(seconds) * 1000;
}

/** Peak resident memory of a process, where the system tells it. */
function peakMemory(pid: number | undefined): Figure[] {
  const status = `/proc/${pid ?? ''}/status`;
  if (!existsSync(status)) return [];
  const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(status, 'utf8'))?.[1];
  if (kilobytes === undefined) return [];
  return [{ name: 'worker, peak memory', value: (Number(kilobytes) * 1024) / 1e6, unit: 'MB' }];
}

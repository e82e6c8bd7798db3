import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { encodeFrame, Ndarray } from '@armature/sdk/contract';
import { WebSocket } from 'ws';
import { z } from 'zod';
import type { Compared, Figure } from '../../result.ts';
import { latencyFigures } from '../../timing.ts';

const place = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const OPENPI_LOOP = place('bench/peers/openpi/server.py');
/** Started by its path, as a process of its own: it is made of this repository's test workers. */
const TRIVIAL_WORKER = place('test/support/trivial-worker.ts');
const PYTHON = place('.armature/peers-openpi/bin/python');
const CLIENTS = [1, 8, 32] as const;
/**
 * What the policy takes, ms: a run on an accelerator, which costs the same for one row and for many; and nothing,
 * which leaves what the loops themselves take.
 */
const RUNS_MS = [4, 0] as const;
const [HORIZON, WIDTH] = [8, 2];

/**
 * The same policy behind this worker's openpi endpoint and behind openpi's own loop, asked by the same
 * clients, each as fast as it gets its replies.
 */
export async function againstOpenpi(trialMs: number): Promise<Compared> {
  if (!existsSync(PYTHON)) {
    process.stderr.write(
      'openpi’s loop is not compared with: run bench/peers/openpi/install.sh first\n',
    );
    return { figures: [], ratios: {} };
  }
  const figures: Figure[] = [];
  const ratios: Record<string, number> = {};
  for (const [runMs, count] of RUNS_MS.flatMap((ms) => CLIENTS.map((n) => [ms, n] as const))) {
    const ours = await measure(ourWorker(runMs, count), count, trialMs);
    const theirs = await measure(openpiLoop(runMs), count, trialMs);
    for (const [who, { perS, latencies }] of [
      ['this worker', ours],
      ['openpi’s loop', theirs],
    ] as const) {
      const name = `${who}, policy of ${runMs} ms a run, ${count} openpi clients`;
      figures.push(...latencyFigures(name, latencies), { name, value: perS, unit: 'replies/s' });
    }
    const what = runMs === 0 ? 'loop' : 'throughput';
    ratios[`${what}_vs_openpi_${count}`] = ours.perS / theirs.perS;
  }
  for (const [name, value] of Object.entries(ratios)) figures.push({ name, value, unit: 'times' });
  return { figures, ratios };
}

interface Peer {
  readonly process: ChildProcess;
  readonly started: Promise<{ readonly port: number; readonly tokens: readonly string[] }>;
}

function ourWorker(runMs: number, clients: number): Peer {
  const args = ['--import', 'tsx', TRIVIAL_WORKER, String(runMs), String(clients)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const schema = z.object({ port: z.number(), tokens: z.array(z.string()) });
  return {
    process: child,
    started: firstLine(child).then((line) => schema.parse(JSON.parse(line))),
  };
}

function openpiLoop(runMs: number): Peer {
  const args = [OPENPI_LOOP, String(runMs), String(HORIZON), String(WIDTH)];
  const child = spawn(PYTHON, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  return {
    process: child,
    started: firstLine(child).then((line) => ({ port: z.coerce.number().parse(line), tokens: [] })),
  };
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('the peer has no output');
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error('the peer ended before it listened');
}

async function measure(peer: Peer, count: number, trialMs: number) {
  try {
    const { port, tokens } = await peer.started;
    const sockets = await Promise.all(
      Array.from({ length: count }, (_, i) => greeted(port, tokens[i])),
    );
    const warmUp = performance.now() + trialMs / 4;
    await Promise.all(sockets.map((socket) => askUntil(socket, warmUp)));
    const started = performance.now();
    const all = await Promise.all(sockets.map((socket) => askUntil(socket, started + trialMs)));
    const latencies = all.flat();
    const perS = (1000 * latencies.length) / (performance.now() - started);
    for (const socket of sockets) socket.terminate();
    return { perS, latencies };
  } finally {
    const ended = once(peer.process, 'exit');
    peer.process.kill('SIGKILL');
    await ended;
  }
}

/** A client that has had the server's metadata. */
async function greeted(port: number, token: string | undefined): Promise<WebSocket> {
  const headers = token === undefined ? {} : { authorization: `Api-Key ${token}` };
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { headers, perMessageDeflate: false });
  await once(socket, 'message');
  return socket;
}

const REQUEST = encodeFrame({
  'observation/front': Ndarray.uint8(new Uint8Array(48 * 64 * 3).fill(9), [48, 64, 3]),
  'observation/state': Ndarray.float32(Float32Array.of(0.5, 0)),
  prompt: 'lift the cup',
});

async function askUntil(socket: WebSocket, until: number): Promise<number[]> {
  const latencies: number[] = [];
  while (performance.now() < until) {
    const sent = performance.now();
    socket.send(REQUEST);
    const [data, isBinary] = (await once(socket, 'message')) as [Buffer, boolean];
    if (!isBinary) throw new Error(`a peer answered: ${data.toString()}`);
    latencies.push(performance.now() - sent);
  }
  return latencies;
}

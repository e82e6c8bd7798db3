import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { decodeFrame, encodeFrame, Ndarray, routes } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { openpiClientIfHad } from '../../test/compat/openpi-session.ts';
import { environmentOfParts } from './config.ts';
import { startPlatform, type Platform, type PlatformEvent } from './platform.ts';

/** Nine processes start one after another, on a machine that may be busy. */
const SLOW = 300_000;
/** The client that openpi publishes, pointed at what `dev.json` says. */
const openpiClient = await openpiClientIfHad();

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'armature-platform-'));
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

function start(
  more: {
    readonly environment?: Readonly<Record<string, string>>;
    readonly onEvent?: (event: PlatformEvent) => void;
    readonly signal?: AbortSignal;
  } = {},
): Promise<Platform> {
  return startPlatform({
    ...more,
    dir,
    durable: false,
    environment: { ...environmentOfParts(), ...more.environment },
  });
}

/** The tenant that a key belongs to, as the API answers it. */
async function tenantOf({ apiUrl, apiKey }: Platform): Promise<{ id: string; name: string }> {
  const { path: route, output } = routes['tenants.current'];
  const response = await fetch(new URL(route, apiUrl), {
    headers: { authorization: `Bearer ${apiKey}` },
  });
  return output.parse(await response.json());
}

/** One exchange in openpi's dialect with what `dev.json` says, and no key. */
async function openpiReply({ openpi }: Platform): Promise<Record<string, unknown>> {
  const socket = new WebSocket(`ws://${openpi.host}:${openpi.port}`, { perMessageDeflate: false });
  const observation = Object.fromEntries(
    Object.entries(openpi.observation).map(([key, { dtype, shape }]) => {
      const size = shape.reduce((product, length) => product * length, 1);
      if (dtype === 'str') return [key, 'reach for the cup'];
      return dtype === 'uint8'
        ? [key, Ndarray.uint8(new Uint8Array(size).fill(90), shape)]
        : [key, Ndarray.float32(new Float32Array(size).fill(0.2), shape)];
    }),
  );
  return new Promise((resolve, reject) => {
    const got: Record<string, unknown>[] = [];
    socket.on('error', reject);
    socket.on('close', (_, reason) => reject(new Error(`closed: ${reason.toString()}`)));
    socket.on('message', (data: Buffer, isBinary) => {
      if (!isBinary) return reject(new Error(data.toString()));
      got.push(decodeFrame(new Uint8Array(data)) as Record<string, unknown>);
      if (got.length === 1) return socket.send(encodeFrame(observation));
      resolve({ ...got[0], ...got[1] });
      socket.close();
    });
  });
}

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);
const partNames = ['api', 'serve', 'train', 'ingest', 'webhooks', 'sweeps'] as const;

describe('the platform', () => {
  it(
    'starts, keeps its parts alive, stops them all, and finds its data again',
    { timeout: SLOW },
    async () => {
      const events: PlatformEvent[] = [];
      const first = await start({ onEvent: (event) => events.push(event) });
      const tenant = await tenantOf(first);
      expect(tenant.name).toBe('development');
      const { apiUrl, gatewayUrl, apiKey, openpi } = first;
      const dev = path.join(dir, 'dev.json');
      expect(JSON.parse(readFileSync(dev, 'utf8'))).toEqual({
        apiUrl,
        gatewayUrl,
        apiKey,
        openpi,
      });
      expect(`ws://${openpi.host}:${openpi.port}`).toBe(gatewayUrl);
      expect(openpi.observation).toMatchObject({
        'observation/image': { dtype: 'uint8', shape: [224, 224, 3] },
        'observation/state': { dtype: 'float32', shape: [8] },
        prompt: { dtype: 'str', shape: [] },
      });
      for (const secret of [dev, path.join(dir, 'secrets.json'), path.join(dir, 'logs/api.log')]) {
        expect((await stat(secret)).mode & 0o077).toBe(0);
      }
      const reply = await openpiReply(first);
      expect(reply).toMatchObject({ embodiment: 'sample arm', action_horizon: 16 });
      const { actions } = reply;
      if (!(actions instanceof Ndarray)) throw new Error('no actions');
      expect([actions.dtype, actions.shape]).toEqual(['<f8', [16, 8]]);
      expect(actions.toFloat32().every((value) => Math.abs(value) <= 2.8)).toBe(true);
      const said = JSON.parse(readFileSync(dev, 'utf8')) as Pick<Platform, 'openpi'>;
      if (openpiClient !== undefined) {
        const published = await openpiClient(said.openpi, '', SLOW);
        expect(published.metadata).toMatchObject({ embodiment: 'sample arm' });
        expect(published.shapes).toEqual(new Array(5).fill([16, 8]));
        expect(published.steps).toEqual(new Array(6).fill([8]));
      }
      await expect(start()).rejects.toThrow(/Another platform \(process \d+\) runs in this folder/);

      const killed = first.pid('ingest');
      process.kill(killed ?? 0, 'SIGKILL');
      await vi.waitFor(
        () => {
          const ready = events.filter((event) => event.kind === 'ready' && event.part === 'ingest');
          expect(ready).toHaveLength(2);
        },
        { timeout: 60_000 },
      );
      expect(first.pid('ingest')).not.toBe(killed);

      const pids = partNames.map((name) => first.pid(name) ?? 0);
      await first.stop();
      await first.stop();
      expect(pids.filter(isAlive)).toEqual([]);
      expect(existsSync(path.join(dir, 'platform.lock'))).toBe(false);

      const second = await start();
      expect([second.apiUrl, second.gatewayUrl, second.apiKey]).toEqual([
        apiUrl,
        gatewayUrl,
        apiKey,
      ]);
      expect(await tenantOf(second)).toEqual(tenant);
      await second.stop();
    },
  );

  it('stops what had started when a part does not start, and says why', async () => {
    const events: PlatformEvent[] = [];
    const failing = start({
      environment: { EXECUTION_PROVIDER: 'abacus' },
      onEvent: (event) => events.push(event),
    });
    await expect(failing).rejects.toThrow(
      /(serve|train) ended with exit code 1[^]*EXECUTION_PROVIDER/,
    );
    const pids = events.flatMap((event) => (event.kind === 'ready' ? [event.pid] : []));
    expect(pids.length).toBeGreaterThan(0);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(existsSync(path.join(dir, 'platform.lock'))).toBe(false);
  });

  it('gives up a start that is interrupted', async () => {
    const controller = new AbortController();
    const interrupted = start({
      signal: controller.signal,
      onEvent: (event) => {
        if (event.kind === 'ready') controller.abort(new Error('enough'));
      },
    });
    await expect(interrupted).rejects.toThrow('enough');
    expect(existsSync(path.join(dir, 'platform.lock'))).toBe(false);
  });
});

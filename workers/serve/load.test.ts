import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import type { SessionClaims } from '@armature/sdk/contract';
import { openStore } from '@armature/storage';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { makePolicy, putPolicy } from '../../test/support/served-policy.ts';
import { startIssuer, type Issuer } from './gateway/testing/issuer.ts';
import { claimsFor, loadSpec, noiseJpeg, observation, TestRobot } from './testing/robots.ts';

const ROBOTS = 12;
const CHUNKS_EACH = 6;
const TENANT = 'ten_load';
const entry = new URL('./testing/load-worker.ts', import.meta.url).pathname;
const readySchema = z.object({ port: z.number() });

let issuer: Issuer;
let child: ChildProcess;
let port: number;
let policy: SessionClaims['policy'];
let root: string;
beforeAll(async () => {
  issuer = await startIssuer();
  root = await mkdtemp(path.join(tmpdir(), 'armature-load-'));
  const secret = 'only-for-tests-and-long-enough-so';
  const store = openStore({ kind: 'disk', root, publicUrl: 'http://x', secret });
  const base = loadBase(await readFile(baseWeightsUrl('nano')));
  policy = await putPolicy(
    (key, bytes) => store.put(key, bytes),
    TENANT,
    makePolicy(base, loadSpec(), 3),
  );
  const settings = { jwksUrl: issuer.jwksUrl, root };
  const started = spawn(process.execPath, ['--import', 'tsx', entry, JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = started;
  const [line] = (await once(started.stdout, 'data')) as [Buffer];
  ({ port } = readySchema.parse(JSON.parse(line.toString())));
});
afterAll(async () => {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
  await issuer.close();
  await rm(root, { recursive: true });
});

async function robot(sub: string): Promise<TestRobot> {
  const claims = {
    ...claimsFor({ sub, worker: 'load', tenant: TENANT, policy, reasoning: { when: 'off' } }),
    embodiment: { id: 'emb_load', spec: loadSpec() },
  };
  const made = await TestRobot.open(port, await issuer.sign(claims));
  await made.next('welcome', 240_000);
  return made;
}

it('answers pings while every engine and image thread has more to do than it can', async () => {
  const jpeg = await noiseJpeg(224, 224);
  const images = { front: { jpeg }, hand: { jpeg } };
  const robots: TestRobot[] = [];
  for (let i = 0; i < ROBOTS; i++) robots.push(await robot(`ses_load${i}`));
  const idle = await robot('ses_idle');
  let chunks = 0;
  /** Chunks that came between a ping and its pong, one entry a ping. */
  const between: number[] = [];
  const end = new AbortController();
  const isOver = (): boolean => end.signal.aborted;
  const pinging = (async () => {
    while (!isOver()) {
      const before = chunks;
      const pong = once(idle.socket, 'pong');
      idle.socket.ping();
      await pong;
      between.push(chunks - before);
      await sleep(5);
    }
  })();
  await Promise.all(
    robots.map(async (made) => {
      for (let seq = 0; seq < CHUNKS_EACH; seq++) {
        made.send(observation(seq, jpeg, { images }));
        expect(await made.answer(seq, 240_000)).toMatchObject({ type: 'chunk' });
        chunks += 1;
      }
    }),
  );
  end.abort();
  await pinging;
  for (const made of [...robots, idle]) made.close();
  expect(chunks).toBe(ROBOTS * CHUNKS_EACH);
  // Runs take all of the time. A loop that were held up by them would answer after the chunks of the run
  // that a ping came in; one that is free answers before, but for pings that a run happens to end on.
  const before = between.filter((count) => count === 0).length;
  expect(between.length).toBeGreaterThan(2 * CHUNKS_EACH);
  expect(before / between.length).toBeGreaterThan(0.75);
}, 600_000);

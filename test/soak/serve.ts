import { readFileSync } from 'node:fs';
import { baseWeightsUrl, loadBase, readManifest, writeWeights } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime } from '@armature/policy/runtime';
import type { SessionClaims } from '@armature/sdk/contract';
import { makePolicy, putPolicy, sha256 } from '../support/served-policy.ts';
import { armSpec, jpegOf, observation, TestRobot } from '../../workers/serve/testing/robots.ts';
import { startWorker } from '../../workers/serve/testing/worker.ts';

/**
 * `npm run soak`: a whole worker with the real model serves 10,000 chunks to sessions of 200 policies,
 * every fifth with a trunk of its own, which come and go through four places. Prints the resident
 * memory after each round, and fails when it has grown since the warm-up by more than is allowed.
 */
const ROUNDS = 20;
const POLICIES_A_ROUND = 10;
const CHUNKS_A_POLICY = 50;
/** Rounds after which graphs, arenas and code are there. */
const WARMUP_ROUNDS = 10;
const ALLOWED_MB = 8;

const { gc } = globalThis;
if (gc === undefined) throw new Error('run with --expose-gc, so that garbage does not count');
const base = loadBase(readFileSync(baseWeightsUrl('nano')));
const trunk = writeWeights(
  base.trunkSpecs,
  (name) => base.trunk.get(name) ?? new Float32Array(),
  'F16',
  {},
);
const engine = await Engine.start({ threads: 2 });
const reasonEngine = await Engine.start({ threads: 1, name: 'reason' });
const runtime = await PolicyRuntime.create({ engine, reasonEngine, base, buckets: [1], slots: 4 });
const worker = await startWorker({
  runtime,
  engines: [
    { name: 'act', serves: ['act'] },
    { name: 'reason', serves: ['reason'] },
  ],
  readManifest,
  policySlots: 4,
  buckets: [1],
});
const jpeg = await jpegOf();
const spec = armSpec();

/** One session of a version of its own; nothing of it is left in the store afterwards. */
async function serve(seed: number): Promise<void> {
  const policy = makePolicy(base, spec, seed);
  const brought = seed % 5 === 0;
  const files = brought
    ? { 'trunk.safetensors': { sha256: sha256(trunk), size: trunk.length } }
    : {};
  const made = {
    ...policy,
    manifest: {
      ...policy.manifest,
      mode: brought ? ('full' as const) : ('head' as const),
      files: { ...policy.manifest.files, ...files },
    },
  };
  const { objects } = worker.store;
  const claims: SessionClaims = {
    ...worker.claims({ sub: `ses_${seed}` }),
    policy: await putPolicy((key, bytes) => objects.set(key, bytes), 'ten_a', made),
    reasoning: { when: 'interval', ms: 100 },
    sampler: { steps: 1, noise_scale: 0 },
    limits: { max_in_flight: 4, max_hz: 10_000 },
  };
  if (brought) objects.set(`${claims.policy.prefix}trunk.safetensors`, trunk);
  const robot = await TestRobot.ready(worker.port, await worker.issuer.sign(claims));
  for (let seq = 0; seq < CHUNKS_A_POLICY; seq++) {
    robot.send(observation(seq, jpeg));
    const answer = await robot.answer(seq, 60_000);
    if (answer.type !== 'chunk') throw new Error(`observation ${seq}: ${answer.message}`);
  }
  robot.close();
  await robot.closed;
  objects.clear();
}

function residentMb(): number {
  gc?.();
  return process.memoryUsage.rss() / 2 ** 20;
}

const readings: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  for (let i = 0; i < POLICIES_A_ROUND; i++) await serve(round * POLICIES_A_ROUND + i);
  await worker.ledger.flush(10_000);
  worker.sink.entries.clear();
  const resident = residentMb();
  readings.push(resident);
  process.stdout.write(
    `round ${String(round + 1).padStart(2)}  ${(round + 1) * POLICIES_A_ROUND} policies  ` +
      `${(round + 1) * POLICIES_A_ROUND * CHUNKS_A_POLICY} chunks  ${resident.toFixed(1)} MiB\n`,
  );
}
await worker.stop();
await engine.close();
await reasonEngine.close();

const warm = readings.slice(WARMUP_ROUNDS);
const third = Math.floor(warm.length / 3);
const lowest = (part: readonly number[]): number => Math.min(...part);
const [early, late] = [lowest(warm.slice(0, third)), lowest(warm.slice(-third))];
process.stdout.write(
  `after warm-up ${early.toFixed(1)} MiB, at the end ${late.toFixed(1)} MiB, at most ${ALLOWED_MB} more allowed\n`,
);
if (late - early > ALLOWED_MB) process.exitCode = 1;

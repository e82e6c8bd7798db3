import type { Worker } from 'node:worker_threads';
import { Engine } from '@armature/policy/engine';
import { expect, it } from 'vitest';
import { startWorker } from './testing/worker.ts';
import { ThreadWatch } from './thread-watch.ts';

/** Ends the thread of an engine as a crash of the runtime does. */
const crash = async (engine: Engine) => (Reflect.get(engine, 'worker') as Worker).terminate();

it('a worker whose engine thread has ended is neither healthy nor ready, whoever is told when', async () => {
  const threads = new ThreadWatch();
  const [lost, other] = await Promise.all(
    ['one', 'two'].map((name) => Engine.start({ threads: 1, name, onThreadLost: threads.lost })),
  );
  if (lost === undefined || other === undefined) throw new Error('no engine');
  const worker = await startWorker({ threadsAlive: () => threads.isWhole });
  const statuses = async () =>
    Promise.all(
      ['healthz', 'readyz'].map(
        async (path) => (await fetch(`http://127.0.0.1:${worker.port}/${path}`)).status,
      ),
    );
  expect(await statuses()).toEqual([200, 200]);
  const told: string[] = [];
  threads.whenLost((error) => told.push(error.message));
  await crash(lost);
  await expect.poll(statuses).toEqual([503, 503]);
  threads.whenLost((error) => told.push(error.message));
  expect(told).toEqual(Array(2).fill('engine one ended with code 1'));
  // One that is closed, by whom it was started, is not lost.
  await other.close();
  expect(told).toHaveLength(2);
  await worker.stop();
});

import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestRobot } from '../workers/serve/testing/robots.ts';
import { startWorker, storePolicy, type TestWorker } from '../workers/serve/testing/worker.ts';
import { startTestApi, type TestApi } from './support/api.ts';
import { armSpec } from './support/robots.ts';
import { addPolicyVersion, addServeWorker } from './support/rows.ts';

/** A session as a client opens it that has nothing but HTTP, on a real control plane and worker. */
let api: TestApi;
let worker: TestWorker;
beforeAll(async () => {
  api = await startTestApi();
  worker = await startWorker({ worker: 'serve-1', jwksUrl: `${api.url}/.well-known/jwks.json` });
  await addServeWorker(api.db.worker, 'serve-1', `ws://127.0.0.1:${worker.port}/v1/robot`);
});
afterAll(async () => {
  await worker.stop();
  await api.stop();
});

interface Grant {
  readonly token: string;
  readonly announce_url: string;
}

it('announced by fetch alone, has its policy loaded before the robot is there', async () => {
  const { id: tenant, key } = await api.tenant();
  const embodiment = await api.must('embodiments.create', key, { spec: armSpec });
  const stored = storePolicy(worker.store, tenant, 'rest', armSpec);
  const version = await addPolicyVersion(api.db.worker, tenant, embodiment.id, stored);

  const created = await fetch(`${api.url}/v1/sessions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      robot: 'arm-1',
      embodiment_id: embodiment.id,
      policy_version_id: version,
      reasoning: { when: 'off' },
    }),
  });
  expect(created.ok).toBe(true);
  const grant = (await created.json()) as Grant;
  expect(worker.runtime.loads).toBe(0);
  const announced = await fetch(grant.announce_url, {
    method: 'POST',
    headers: { authorization: `Bearer ${grant.token}` },
  });
  expect(announced.status).toBe(201);
  await expect.poll(() => worker.runtime.loads).toBe(1);

  const robot = await TestRobot.ready(worker.port, grant.token);
  expect(worker.runtime.loads).toBe(1);
  robot.close();
});

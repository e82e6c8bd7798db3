import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { problemSchema, routes, type RouteName, type Embodiment } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { apiEnvironment, freePort, startApiProcess } from '../support/api-process.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { PLATFORM_KEY, requestFor } from '../support/api.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { armSpec } from '../support/robots.ts';
import { pythonIfHad } from './python-environment.ts';

const SLOW = 300_000;
const run = promisify(execFile);
const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const python = await pythonIfHad('openapi-python-client-0.29.1', ['openapi-python-client==0.29.1']);

const told = problemSchema.extend({ status: z.number(), type: z.string(), header: z.string() });
/** Python writes an instant of UTC with another ending. */
const shown = routes['embodiments.get'].output.extend({
  created_at: z.iso.datetime({ offset: true }).transform((at) => new Date(at).toISOString()),
});
const outcomeSchema = z.object({
  secret: z.string(),
  keys: z.array(z.string()),
  repeated: z.boolean(),
  changed: told,
  created: z.array(shown),
  pages: z.array(z.array(z.string())),
  read: shown,
  forbidden: told,
  absent: told,
});

describe.skipIf(python === undefined)('a Python client generated from the OpenAPI file', () => {
  let postgres: TestPostgres;
  let api: NodeProcess;
  let url: string;
  let scratch: string;
  beforeAll(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), 'armature-generated-'));
    postgres = await startTestPostgres();
    const { appUrl } = await postgres.database();
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    const environment = { databaseUrl: appUrl, storeRoot: scratch, publicUrl: url };
    api = await startApiProcess(apiEnvironment(environment), port);
  }, SLOW);
  afterAll(async () => {
    await api.stop();
    await postgres.stop();
    await rm(scratch, { recursive: true, force: true });
  });

  it('has every verb, and drives an API process', { timeout: SLOW }, async () => {
    const bin = path.dirname(python ?? '');
    const client = path.join(scratch, 'armature_client');
    const generated = await run(
      path.join(bin, 'openapi-python-client'),
      [
        ...['generate', '--path', file('../../api/openapi/openapi.json')],
        ...['--meta', 'none', '--output-path', client],
      ],
      // Its formatter lies beside it.
      { timeout: SLOW, env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` } },
    );
    expect(generated.stdout + generated.stderr).not.toMatch(/warning|error/i);
    const modules = (await readdir(path.join(client, 'api'), { recursive: true }))
      .map((name) => path.basename(name, '.py'))
      .filter((name) => name.includes('_') && !name.startsWith('_'));
    const names = Object.keys(routes) as RouteName[];
    const operations = [...names, 'finetunes.stream'];
    expect(modules.sort()).toEqual(operations.map((name) => name.replace('.', '_')).sort());

    const { stdout } = await run(
      python ?? '',
      [file('generated_client_session.py'), url, PLATFORM_KEY, JSON.stringify(armSpec)],
      { timeout: SLOW, env: { ...process.env, PYTHONPATH: scratch } },
    );
    const seen = outcomeSchema.parse(JSON.parse(stdout));
    expect(seen.keys.sort()).toEqual(['first key', 'reader']);
    expect(seen.repeated).toBe(true);
    expect(seen.changed).toMatchObject({ status: 422, code: 'idempotency_mismatch' });
    expect(seen.forbidden).toMatchObject({ status: 403, code: 'forbidden' });
    expect(seen.absent).toMatchObject({ status: 404, code: 'not_found' });
    for (const problem of [seen.changed, seen.forbidden, seen.absent]) {
      expect(problem.request_id).toBe(problem.header);
    }

    const listed = await fetch(...requestFor(url, 'embodiments.list', seen.secret, {}));
    const { items } = (await listed.json()) as { items: Embodiment[] };
    expect(seen.pages.map((page) => page.length)).toEqual([2, 2, 1]);
    expect(seen.pages.flat()).toEqual(items.map(({ id }) => id));
    expect(seen.created.toReversed()).toEqual(items);
    expect(seen.read).toEqual(items.at(-1));
  });
});

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Armature, exportUsage, type UsageFormat } from '@armature/sdk';
import type { UsageLine } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { decimalOf, picoOf } from '../../api/metering/money.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import { armSpec } from '../support/robots.ts';
import { addPolicyVersion, addServeWorker, addUsage } from '../support/rows.ts';
import { pythonIfHad } from './python-environment.ts';

const SLOW = 300_000;
const HOUR_MS = 3_600_000;
const run = promisify(execFile);
const script = fileURLToPath(new URL('read_usage_export.py', import.meta.url));
const python = await pythonIfHad('pyarrow-21.0.0', ['pyarrow==21.0.0']);

const tableSchema = z.object({
  types: z.record(z.string(), z.string()),
  rows: z.array(z.record(z.string(), z.union([z.string(), z.number(), z.null()]))),
});

describe.skipIf(python === undefined)('an export of usage, from an API with a database', () => {
  let api: TestApi;
  let client: Armature;
  let scratch: string;
  let lines: UsageLine[];
  let period: { from: string; to: string };
  beforeAll(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), 'armature-export-'));
    api = await startTestApi();
    const { id: tenant, key } = await api.tenant();
    const embodiment = await api.must('embodiments.create', key, { spec: armSpec });
    const policy = await addPolicyVersion(api.db.worker, tenant, embodiment.id);
    await addServeWorker(api.db.worker);
    const now = Date.now();
    for (const robot of ['left', 'arm "1", right\nof Zoë']) {
      const input = { robot, embodiment_id: embodiment.id, policy_version_id: policy };
      const { session } = await api.must('sessions.create', key, input);
      for (const [hours, chunks] of [2, 3, 5].entries()) {
        await addUsage(
          api.db.worker,
          tenant,
          session.id,
          chunks,
          new Date(now - (hours + 1) * HOUR_MS),
        );
      }
    }
    client = new Armature({ apiUrl: api.url, apiKey: key });
    period = { from: new Date(now - 9 * HOUR_MS).toISOString(), to: new Date(now).toISOString() };
    lines = [];
    for await (const line of client.usage.linesAll(period)) lines.push(line);
  }, SLOW);
  afterAll(async () => {
    await api.stop();
    await rm(scratch, { recursive: true, force: true });
  });

  async function readBack(format: UsageFormat): Promise<z.output<typeof tableSchema>> {
    const file = path.join(scratch, `usage.${format}`);
    await writeFile(file, await exportUsage(client, format, period));
    const { stdout } = await run(python ?? '', [script, file], { timeout: SLOW });
    return tableSchema.parse(JSON.parse(stdout));
  }

  it('has every window once, and adds up to the usage', async () => {
    expect(lines).toHaveLength(6);
    expect(new Set(lines.map(({ id }) => id)).size).toBe(6);
    const { totals } = await client.usage.get(period);
    expect(lines.reduce((sum, { chunks }) => sum + chunks, 0)).toBe(totals.chunks);
    expect(decimalOf(lines.reduce((sum, { cost }) => sum + picoOf(cost), 0n))).toBe(totals.cost);
  });

  it('is a parquet file that pyarrow reads, with its types', { timeout: SLOW }, async () => {
    const { types, rows } = await readBack('parquet');
    expect(types).toMatchObject({
      chunks: 'int64',
      compute_ms: 'double',
      cost: 'string',
      robot: 'string',
    });
    expect(types['window_at']).toMatch(/^timestamp\[/);
    expect(rows).toEqual(lines);
  });

  it('is a CSV file that Python’s own reader reads', { timeout: SLOW }, async () => {
    const { rows } = await readBack('csv');
    const asText = lines.map((line) =>
      Object.fromEntries(
        Object.entries(line).map(([name, value]) => [name, value === null ? '' : String(value)]),
      ),
    );
    expect(rows).toEqual(asText);
  });
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect, type Db } from '@armature/db';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../../test/support/postgres.ts';
import { recordSession } from '../../../test/support/session-rows.ts';
import { DatabaseSink } from './database-sink.ts';
import type { ReasoningEntry } from './entry.ts';
import { Heartbeat } from './heartbeat.ts';
import { Ledger } from './ledger.ts';
import { silent, usage } from './testing/entries.ts';

let server: TestPostgres;
let database: TestDatabase;
let admin: postgres.Sql;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(() => server.stop());
beforeEach(async () => {
  database = await server.database();
  admin = postgres(database.adminUrl, { max: 1 });
  await recordSession(admin, { tenant: 'ten_1', session: 'ses_1', version: 'pv_1' });
  await recordSession(admin, { tenant: 'ten_2', session: 'ses_2', version: 'pv_2' });
  return async () => admin.end();
});

const reasoning = (n: number, over: Partial<ReasoningEntry> = {}): ReasoningEntry => ({
  kind: 'reasoning',
  id: `ses_1:0:${n}`,
  tenant_id: 'ten_1',
  session_id: 'ses_1',
  text: 'reach for the cup',
  source: 'policy',
  tokens: 5,
  created_at: '2030-01-01T00:00:00.000Z',
  ...over,
});

describe('DatabaseSink', () => {
  it('writes usage and reasoning of several tenants, once however often it is asked', async () => {
    const sink = new DatabaseSink(database.worker, silent);
    const entries = [
      reasoning(1),
      usage(1, { reasoning_id: 'ses_1:0:1', reasoning_tokens: 5 }),
      usage(2),
      usage(9, {
        id: 'ses_2:0:9',
        session_id: 'ses_2',
        tenant_id: 'ten_2',
        policy_version_id: 'pv_2',
      }),
    ];
    expect(await sink.write(entries)).toEqual([]);
    expect(await sink.write(entries)).toEqual([]);
    const rows = await admin`
      select id, tenant_id, reasoning_id, actions, reasoning_tokens, compute_us::int from usage_events order by id`;
    expect(rows.map((row) => ({ ...row }))).toEqual([
      {
        id: 'ses_1:0:1',
        tenant_id: 'ten_1',
        reasoning_id: 'ses_1:0:1',
        actions: 16,
        reasoning_tokens: 5,
        compute_us: 1200,
      },
      expect.objectContaining({ id: 'ses_1:0:2', reasoning_id: null }),
      expect.objectContaining({ id: 'ses_2:0:9', tenant_id: 'ten_2' }),
    ]);
    expect(await admin`select text, source, tokens from reasoning_records`).toEqual([
      { text: 'reach for the cup', source: 'policy', tokens: 5 },
    ]);
  });

  it('finds the one entry that no database takes, and writes the others', async () => {
    const sink = new DatabaseSink(database.worker, silent);
    const rejected = await sink.write([
      usage(1),
      reasoning(2, { text: 'bad\u0000text' }),
      usage(3),
    ]);
    expect(rejected).toHaveLength(1);
    expect(rejected[0]?.line).toContain('ses_1:0:2');
    expect(await admin`select id from usage_events order by id`).toHaveLength(2);
  });

  it('lets the ledger wait for a database that is not there, and catch up', async () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'armature-ledger-'));
    const down: Db = connect('postgres://armature_worker@127.0.0.1:1/none', { max: 1 });
    const first = new Ledger({
      dir,
      sink: new DatabaseSink(down, silent),
      log: silent,
      flushMs: 10,
    });
    await first.append([usage(1), usage(2)]);
    expect(await first.flush(50)).toBe(false);
    await first.close();
    await down.close();
    const sink = new DatabaseSink(database.worker, silent);
    const second = new Ledger({ dir, sink, log: silent, flushMs: 10 });
    expect(await second.flush(10_000)).toBe(true);
    await second.close();
    rmSync(dir, { recursive: true });
    expect(await admin`select id from usage_events`).toHaveLength(2);
  });
});

describe('Heartbeat', () => {
  it('keeps the worker’s row fresh, and takes it away at the end', async () => {
    const status = { id: 'serve-1', url: 'ws://x', state: 'ready' as const, sessions: 3 };
    const warn = vi.fn();
    const heartbeat = new Heartbeat(database.worker, () => status, { ...silent, warn }, 10_000);
    await heartbeat.beat();
    expect(await admin`select id, url, state, sessions from serve_workers`).toEqual([status]);
    await heartbeat.stop();
    expect(await admin`select id from serve_workers`).toEqual([]);
    expect(warn).not.toHaveBeenCalled();
  });
});

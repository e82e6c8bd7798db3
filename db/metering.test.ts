import fc from 'fast-check';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../test/support/postgres.ts';
import { recordSession } from '../test/support/session-rows.ts';
import { writeRecords, type WorkerRecord } from './metering.ts';

let server: TestPostgres;
let db: TestDatabase;
let admin: Sql;

beforeAll(async () => {
  server = await startTestPostgres();
});
beforeEach(async () => {
  db = await server.database();
  admin = postgres(db.adminUrl, { max: 1 });
  return async () => admin.end();
});
afterAll(() => server.stop());

const AT = '2030-01-01T00:00:00.123Z';

function usage(session: string, version: string, n: number, deviation?: number): WorkerRecord {
  return {
    kind: 'usage',
    id: `${session}:0:${n}`,
    session_id: session,
    policy_version_id: version,
    reasoning_id: null,
    actions: 16,
    reasoning_tokens: 0,
    compute_us: 2 ** 40 + n,
    deviation,
    at: AT,
  };
}

const faults = ['refused', 'not_finite', 'load_failed'] as const;

function fault(session: string, version: string, n: number, which: number): WorkerRecord {
  return {
    kind: 'fault',
    id: `${session}:0:${n}`,
    session_id: session,
    policy_version_id: version,
    fault: faults[which] ?? 'refused',
    message: 'it',
    at: AT,
  };
}

describe('writeRecords', () => {
  it('counts each record once, however often and by however many it is written', async () => {
    const record = fc.record({
      of: fc.nat(1),
      n: fc.nat(12),
      fault: fc.option(fc.nat(2)),
      deviation: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
    });
    const batches = fc.array(fc.array(record, { maxLength: 12 }), { minLength: 1, maxLength: 5 });
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(batches, async (given) => {
        const tenant = `ten_${runs++}`;
        const sessions = [`ses_${tenant}_0`, `ses_${tenant}_1`] as const;
        const versions = [`pv_${tenant}_0`, `pv_${tenant}_1`] as const;
        for (const which of [0, 1] as const) {
          const session = sessions[which];
          await recordSession(admin, { tenant, session, version: versions[which] });
        }
        const made = new Map<string, WorkerRecord>();
        const written = given.map((batch) =>
          batch.map(({ of, n, fault: which, deviation }) => {
            const [session, version] = [sessions[of] ?? '', versions[of] ?? ''];
            const one =
              which === null
                ? usage(session, version, n, deviation ?? undefined)
                : fault(session, version, n, which);
            // An id stands for one record: whoever writes it again writes the same.
            const key = `${one.kind} ${one.id}`;
            made.set(key, made.get(key) ?? one);
            return made.get(key) ?? one;
          }),
        );
        await Promise.all(written.map((batch) => writeRecords(db.worker, tenant, batch)));
        for (const batch of written) await writeRecords(db.worker, tenant, batch);
        for (const [i, version] of versions.entries()) {
          const own = [...made.values()].filter((one) => one.session_id === sessions[i]);
          const chunks = own.filter((one) => one.kind === 'usage');
          const [counts] = await admin`
            select coalesce(sum(chunks), 0)::int as chunks, coalesce(sum(refused), 0)::int as refused,
              coalesce(sum(not_finite), 0)::int as not_finite,
              coalesce(sum(load_failed), 0)::int as load_failed
            from policy_windows where policy_version_id = ${version}`;
          const bad = (which: string) =>
            own.filter((one) => one.kind === 'fault' && one.fault === which).length;
          expect({ ...counts }).toEqual({
            chunks: chunks.length,
            refused: bad('refused'),
            not_finite: bad('not_finite'),
            load_failed: bad('load_failed'),
          });
          const [sums] = await admin<{ chunks: number; deviation: number }[]>`
            select coalesce(sum(chunks), 0)::int as chunks, coalesce(sum(deviation), 0) as deviation
            from policy_deviations where policy_version_id = ${version}`;
          const deviations = chunks.map((one) => one.deviation).filter((one) => one !== undefined);
          expect(sums?.chunks).toBe(deviations.length);
          expect(sums?.deviation).toBeCloseTo(
            deviations.reduce((sum, one) => sum + one, 0),
            9,
          );
          const rows = await admin<{ us: string; at: Date }[]>`
            select compute_us as us, at from usage_events where session_id = ${sessions[i] ?? ''}`;
          expect(rows.map(({ us }) => Number(us)).sort((a, b) => a - b)).toEqual(
            chunks.map((one) => one.compute_us).sort((a, b) => a - b),
          );
          expect(new Set(rows.map(({ at }) => at.toISOString()))).toEqual(
            new Set(chunks.map((one) => one.at)),
          );
        }
      }),
      { numRuns: 25 },
    );
  });

  it('writes all or none, and nothing of another tenant’s session', async () => {
    await recordSession(admin, { tenant: 'ten_a', session: 'ses_a', version: 'pv_a' });
    await recordSession(admin, { tenant: 'ten_b', session: 'ses_b', version: 'pv_b' });
    const both = [usage('ses_a', 'pv_a', 1), usage('ses_b', 'pv_b', 2)];
    await expect(writeRecords(db.worker, 'ten_a', both)).rejects.toMatchObject({ code: '23503' });
    await expect(writeRecords(db.app, 'ten_a', both)).rejects.toMatchObject({ code: '42501' });
    expect(await admin`select id from usage_events`).toEqual([]);
    expect(await admin`select chunks from policy_windows`).toEqual([]);
  });
});

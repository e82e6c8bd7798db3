import { finetuneStatusSchema, finetuneTransitions } from '@armature/sdk/contract';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstFinetuneStatuses } from '../sdk/contract/finetune-states.ts';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../test/support/postgres.ts';
import { withTenant } from './connection.ts';
import { DatabaseError } from './errors.ts';
import { newId } from './ids.ts';
import {
  and,
  appendEvents,
  datasets,
  embodiments,
  eq,
  finetunes,
  jobEvents,
  jobs,
  tenants,
} from './index.ts';

const states = finetuneStatusSchema.options;
type State = (typeof states)[number];
const problem = { code: 'invalid_dataset', message: 'm', field: 'dataset_id', fix: 'f' };

let server: TestPostgres;
let database: TestDatabase;
let admin: Sql;
let tenant: string;
let embodimentId: string;

beforeAll(async () => {
  server = await startTestPostgres();
  database = await server.database();
  admin = postgres(database.adminUrl, { max: 1 });
  tenant = newId('ten');
  embodimentId = newId('emb');
  await withTenant(database.app, tenant, async (tx) => {
    await tx.insert(tenants).values({ id: tenant, name: 'test' });
    await tx.insert(embodiments).values({ id: embodimentId, tenantId: tenant, spec: {} });
  });
});
afterAll(async () => {
  await admin.end();
  await server.stop();
});

async function addSet(): Promise<string> {
  const id = newId('ds');
  await withTenant(database.app, tenant, (tx) =>
    tx.insert(datasets).values({
      id,
      tenantId: tenant,
      embodimentId,
      name: 'set',
      status: 'validating',
      prefix: `tenants/${tenant}/datasets/${id}/files/`,
      bytes: 1,
      files: 1,
    }),
  );
  return id;
}

async function add(
  status: State,
  sets: { datasetId?: string; addedDatasetIds?: string[]; heldoutDatasetId?: string } = {},
): Promise<string> {
  const id = newId('ft');
  const datasetId = sets.datasetId ?? (await addSet());
  const row = { id, tenantId: tenant, name: 'f', embodimentId, options: {}, error: problem };
  await withTenant(database.app, tenant, async (tx) => {
    await tx.insert(finetunes).values({ ...row, ...sets, datasetId, status });
    await appendEvents(tx, id, [{ kind: 'status', message: status }]);
  });
  return id;
}

const move = (id: string, status: State): Promise<void> =>
  withTenant(database.worker, tenant, async (tx) => {
    await tx.update(finetunes).set({ status }).where(eq(finetunes.id, id));
  });

/** What became of a change: null where the database took it, else the constraint that refused it. */
async function refusalOf(work: Promise<unknown>): Promise<string | null> {
  try {
    await work;
    return null;
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    return error.code;
  }
}

describe('the states of a fine-tune', () => {
  it('follow each other as the contract says, pair by pair, and in no other way', async () => {
    const id = await add('queued');
    const taken: string[] = [];
    for (const from of states) {
      for (const to of states) {
        // As the owner of everything, past the trigger.
        await admin.begin(async (sql) => {
          await sql`set local session_replication_role = replica`;
          await sql`update finetunes set status = ${from} where id = ${id}`;
        });
        const refusal = await refusalOf(move(id, to));
        if (refusal === null) taken.push(`${from} ${to}`);
        else expect(refusal).toBe('23514');
      }
    }
    const wanted = states.flatMap((from) => [
      `${from} ${from}`,
      ...finetuneTransitions[from].map((to) => `${from} ${to}`),
    ]);
    expect(taken.sort()).toEqual(wanted.sort());
  });

  it('begin in three of them', async () => {
    for (const state of states) {
      const isFirst = firstFinetuneStatuses.some((first) => first === state);
      expect(await refusalOf(add(state)), state).toBe(isFirst ? null : '23514');
    }
  });

  it('reach an end from every state, and leave none that is final', () => {
    const reaches = (from: State, seen = new Set<State>()): Set<State> => {
      if (seen.has(from)) return seen;
      seen.add(from);
      for (const to of finetuneTransitions[from]) reaches(to, seen);
      return seen;
    };
    for (const state of states) {
      const ends = ['succeeded', 'cancelled'].filter((end) => reaches(state).has(end as State));
      expect(ends, state).not.toEqual([]);
    }
    expect(finetuneTransitions.succeeded).toEqual([]);
    expect(finetuneTransitions.cancelled).toEqual([]);
  });

  it('name field and fix of what the tenant is to mend', async () => {
    const id = await add('queued');
    const end = (error: object): Promise<string | null> =>
      refusalOf(
        withTenant(database.worker, tenant, (tx) =>
          tx.update(finetunes).set({ status: 'user_error', error }).where(eq(finetunes.id, id)),
        ),
      );
    expect(await end({ code: 'invalid_dataset', message: 'm' })).toBe('23514');
    expect(await end({ ...problem, field: undefined })).toBe('23514');
    expect(await end(problem)).toBeNull();
  });
});

describe('a fine-tune whose sets are being validated', () => {
  const settle = (id: string, status: 'ready' | 'rejected'): Promise<void> =>
    withTenant(database.worker, tenant, async (tx) => {
      await tx.update(datasets).set({ status }).where(eq(datasets.id, id));
    });
  const look = (id: string) =>
    withTenant(database.app, tenant, async (tx) => {
      const [row] = await tx.select().from(finetunes).where(eq(finetunes.id, id));
      const live = await tx
        .select({ status: jobs.status })
        .from(jobs)
        .where(and(eq(jobs.subjectId, id), eq(jobs.kind, 'finetune')));
      const events = await tx.select().from(jobEvents).where(eq(jobEvents.subjectId, id));
      const told = events.sort((a, b) => a.seq - b.seq).map(({ message }) => message);
      return { status: row?.status, error: row?.error, jobs: live, told };
    });

  it('is queued once, by the last of them, when two end at the same time', async () => {
    for (let round = 0; round < 10; round++) {
      const sets = [await addSet(), await addSet(), await addSet()] as const;
      const id = await add('validating', {
        datasetId: sets[0],
        addedDatasetIds: [sets[1]],
        heldoutDatasetId: sets[2],
      });
      await settle(sets[0], 'ready');
      expect(await look(id)).toMatchObject({ status: 'validating', jobs: [] });
      await Promise.all([settle(sets[1], 'ready'), settle(sets[2], 'ready')]);
      expect(await look(id)).toMatchObject({
        status: 'queued',
        jobs: [{ status: 'queued' }],
        told: ['validating', 'queued'],
      });
    }
  });

  it('ends in user_error, by the field that names the set, when one is rejected', async () => {
    for (const field of ['dataset_id', 'added_dataset_ids', 'heldout_dataset_id']) {
      const bad = await addSet();
      const id = await add('validating', {
        ...(field === 'dataset_id' ? { datasetId: bad } : {}),
        ...(field === 'added_dataset_ids' ? { addedDatasetIds: [bad] } : {}),
        ...(field === 'heldout_dataset_id' ? { heldoutDatasetId: bad } : {}),
      });
      await settle(bad, 'rejected');
      const after = await look(id);
      expect(after).toMatchObject({ status: 'user_error', jobs: [] });
      expect(after.error).toMatchObject({ code: 'invalid_dataset', field });
      expect(after.told).toEqual(['validating', 'user_error']);
    }
  });
});

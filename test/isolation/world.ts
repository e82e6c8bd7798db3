import { routes, type Role, type RouteName } from '@armature/sdk/contract';
import postgres, { type Sql } from 'postgres';
import type { Credential, SignedIn, TestApi } from '../support/api.ts';
import type { Browser } from '../support/people.ts';
import { armSpec } from '../support/robots.ts';
import {
  addPolicyVersion,
  addStoredVersion,
  addServeWorker,
  addUsage,
  endDelivery,
  failFinetune,
  markDataset,
  markReady,
} from '../support/rows.ts';
import { inputs, worldContent, worldFile, type World } from './inputs.ts';

export async function makeWorld(api: TestApi, name: string): Promise<World> {
  const { id: tenant, key: admin } = await api.tenant(name);
  const spare = await api.keyWith(admin, ['read']);
  const { member } = await api.must('invitations.accept', await invite(api, admin), {});
  const invited = await api.must('invitations.create', admin, {
    email: 'invited@example.com',
    role: 'viewer',
  });
  const owner = await memberOf(api, { tenant, admin }, 'owner');
  const embodiment = await api.must('embodiments.create', admin, { spec: armSpec });
  const set = { name: 'd', embodiment_id: embodiment.id, files: [worldFile] };
  const [dataset, heldout, added, open, uploaded, rejected, spareSet] = [
    await api.must('datasets.create', admin, set),
    await api.must('datasets.create', admin, set),
    await api.must('datasets.create', admin, set),
    await api.must('datasets.create', admin, set),
    await api.must('datasets.create', admin, set),
    await api.must('datasets.create', admin, set),
    await api.must('datasets.create', admin, set),
  ];
  const place = `tenants/${tenant}/datasets/${uploaded.dataset.id}/files/${worldFile.path}`;
  await api.store.put(place, worldContent);
  await markReady(api.db.worker, tenant, dataset.dataset.id);
  await markReady(api.db.worker, tenant, heldout.dataset.id);
  await markReady(api.db.worker, tenant, added.dataset.id);
  await markReady(api.db.worker, tenant, spareSet.dataset.id);
  await markDataset(api.db.worker, tenant, rejected.dataset.id, 'rejected');
  const { webhook } = await api.must('webhooks.create', admin, {
    url: 'https://example.com/hook',
    events: ['finetune.queued'],
  });
  const finetune = await api.must('finetunes.create', admin, {
    name: 'f',
    dataset_id: dataset.dataset.id,
    options: {},
  });
  const failed = await api.must('finetunes.create', admin, {
    name: 'g',
    dataset_id: dataset.dataset.id,
    options: {},
  });
  const draft = await api.must('finetunes.create', admin, {
    name: 'h',
    dataset_id: dataset.dataset.id,
    options: {},
    start: false,
  });
  await failFinetune(api.db.worker, tenant, failed.id);
  const { items } = await api.must('webhooks.deliveries', admin, { id: webhook.id });
  const delivery = items[0]?.id ?? '';
  await endDelivery(api.db.worker, tenant, delivery);
  const policy = await addStoredVersion(api.db.worker, api.store, tenant, embodiment.id);
  const [canary, unused] = [
    await addPolicyVersion(api.db.worker, tenant, embodiment.id),
    await addPolicyVersion(api.db.worker, tenant, embodiment.id),
  ];
  await api.must('policies.deploy', admin, { id: policy });
  await addServeWorker(api.db.worker);
  const { session, token } = await api.must('sessions.create', admin, {
    robot: 'r1',
    embodiment_id: embodiment.id,
  });
  await addUsage(api.db.worker, tenant, session.id, 4);
  return {
    tenant,
    admin,
    invitation: invited.secret,
    token,
    owner: owner.shown,
    uploadSignature: new URL(open.parts[0]?.url ?? '').searchParams.get('signature') ?? '',
    ids: {
      tenant,
      key: spare.id,
      member: member.id,
      invited: invited.invitation.id,
      embodiment: embodiment.id,
      dataset: dataset.dataset.id,
      heldout: heldout.dataset.id,
      added: added.dataset.id,
      open: open.dataset.id,
      uploaded: uploaded.dataset.id,
      rejected: rejected.dataset.id,
      spare: spareSet.dataset.id,
      finetune: finetune.id,
      draft: draft.id,
      failed: failed.id,
      policy,
      canary,
      unused,
      session: session.id,
      webhook: webhook.id,
      delivery,
    },
  };
}

let addresses = 0;
/** An address that nobody has used. */
export function freshAddress(): string {
  addresses += 1;
  return `person-${String(addresses)}@example.com`;
}

/** A person who has joined the world's tenant, and what the person's browser shows. */
export async function memberOf(
  api: TestApi,
  { tenant, admin }: Pick<World, 'tenant' | 'admin'>,
  role: Role,
): Promise<{ id: string; shown: SignedIn }> {
  const { id, browser } = await api.member(admin, freshAddress(), role);
  return { id, shown: signedIn(browser, tenant) };
}

/** What a browser shows from a page of the platform. */
export function signedIn({ cookies, origin }: Browser, tenant?: string): SignedIn {
  return { cookies, origin, tenant };
}

async function invite(api: TestApi, admin: string, email = freshAddress()): Promise<string> {
  return (await api.must('invitations.create', admin, { email, role: 'engineer' })).secret;
}

/** What a verb is called with for its owner: by the world's key unless told otherwise, and its input. */
export async function callOf(
  api: TestApi,
  name: RouteName,
  world: World,
  by: Credential = world.admin,
): Promise<{ credential: Credential; input: object }> {
  const input = inputs[name](world.ids);
  if (routes[name].scope === 'invitation') {
    return { credential: await invite(api, world.admin), input };
  }
  if (name === 'account.join') {
    const email = freshAddress();
    const browser = await api.person(email);
    const invitation = await invite(api, world.admin, email);
    return { credential: signedIn(browser), input: { invitation } };
  }
  return { credential: routes[name].scope === 'person' ? world.owner : by, input };
}

/** Looks at every row of a tenant, whatever the policies say. */
export interface Snapshots {
  /** All rows, the use of keys and of the request rate apart, as one text. */
  of(tenant: string): Promise<string>;
  close(): Promise<void>;
}

export async function openSnapshots(adminUrl: string): Promise<Snapshots> {
  const admin: Sql = postgres(adminUrl, { max: 1 });
  const tables = await admin<{ name: string }[]>`
    select table_name as name from information_schema.columns
    where table_schema = 'public' and column_name = 'tenant_id' and table_name <> 'rate_buckets'
    order by 1`;
  const selects = tables.map(
    ({ name }) =>
      `select '${name} ' || (to_jsonb(t) - 'last_used_at')::text as row from ${name} t where tenant_id = $1`,
  );
  const query = `${selects.join(' union all ')} order by 1`;
  return {
    of: async (tenant) => {
      const rows = await admin.unsafe<{ row: string }[]>(query, [tenant], { prepare: true });
      if (rows.length < 10) throw new Error(`tenant ${tenant} has but ${rows.length} rows`);
      return rows.map(({ row }) => row).join('\n');
    },
    close: () => admin.end(),
  };
}

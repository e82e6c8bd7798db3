import type { RouteInput, RouteName } from '@armature/sdk/contract';
import type { SignedIn } from '../support/api.ts';
import { z } from 'zod';
import { armSpec, fileOf } from '../support/robots.ts';

/** A tenant with one of everything. */
export interface World {
  tenant: string;
  /** A key that may do everything of the tenant's. */
  admin: string;
  /** An invitation of the tenant that is open. */
  invitation: string;
  /** A session token of the tenant, which is no API key. */
  token: string;
  /** The signature of one of its upload URLs, which is no API key either. */
  uploadSignature: string;
  /** A person of the tenant who is signed in and may do everything of it. */
  owner: SignedIn;
  ids: {
    tenant: string;
    key: string;
    member: string;
    /** An open one. */
    invited: string;
    embodiment: string;
    /** A set that is ready. */
    dataset: string;
    heldout: string;
    added: string;
    /** A set that is being uploaded. */
    open: string;
    /** One all of whose files have arrived. */
    uploaded: string;
    rejected: string;
    /** A set that nothing uses. */
    spare: string;
    finetune: string;
    draft: string;
    /** One that has failed. */
    failed: string;
    policy: string;
    /** Versions that are not deployed. */
    canary: string;
    unused: string;
    session: string;
    webhook: string;
    /** A message to it that was delivered. */
    delivery: string;
  };
}

export const worldContent = Buffer.from('{}');
export const worldFile = fileOf('meta/info.json', worldContent);

/**
 * An input of every verb that works for the owner of the world. None is missing, by its type, and
 * each names every id that its verb takes, which `coverage.test.ts` checks.
 */
export const inputs: { [N in RouteName]: (ids: World['ids']) => RouteInput<N> } = {
  'tenants.create': () => ({ name: 'another' }),
  'tenants.limit': ({ tenant }) => ({ id: tenant, name: 'concurrent_jobs', value: 9 }),
  'tenants.current': () => ({}),
  'tenants.update': () => ({ time_zone: 'Asia/Kolkata' }),
  'keys.create': () => ({ name: 'k', scopes: ['read'] }),
  'keys.list': () => ({}),
  'keys.revoke': ({ key }) => ({ id: key }),
  'keys.limit': ({ key }) => ({ id: key, name: 'concurrent_robots', value: 3 }),
  'keys.rotate': ({ key }) => ({ id: key }),
  'members.list': () => ({}),
  'members.change': ({ member }) => ({ id: member, role: 'operator' }),
  'members.remove': ({ member }) => ({ id: member }),
  'invitations.create': () => ({ email: 'another@example.com', role: 'viewer' }),
  'invitations.list': () => ({}),
  'invitations.revoke': ({ invited }) => ({ id: invited }),
  'invitations.accept': () => ({}),
  'account.get': () => ({}),
  // Whoever calls has an invitation of an address of the caller's own: `callOf` in world.ts.
  'account.join': () => ({ invitation: 'none of this caller’s' }),
  'audit.list': ({ embodiment }) => ({ subject: embodiment }),
  'embodiments.create': () => ({ spec: armSpec }),
  'embodiments.list': () => ({}),
  'embodiments.get': ({ embodiment }) => ({ id: embodiment }),
  'datasets.create': ({ embodiment }) => ({
    name: 'd',
    embodiment_id: embodiment,
    files: [worldFile],
  }),
  'datasets.plan': ({ open }) => ({ id: open }),
  'datasets.complete': ({ uploaded }) => ({ id: uploaded }),
  'datasets.accept': ({ rejected }) => ({ id: rejected, without_episodes: [0] }),
  'datasets.delete': ({ spare }) => ({ id: spare }),
  'datasets.list': () => ({}),
  'datasets.get': ({ dataset }) => ({ id: dataset }),
  'datasets.episodes': ({ dataset }) => ({ id: dataset }),
  'finetunes.create': ({ dataset, added, heldout, policy }) => ({
    name: 'f',
    dataset_id: dataset,
    added_dataset_ids: [added],
    heldout_dataset_id: heldout,
    options: { mode: 'head', base_policy_version_id: policy },
  }),
  'finetunes.start': ({ draft }) => ({ id: draft }),
  'finetunes.estimate': ({ dataset, added, heldout, policy }) => ({
    dataset_id: dataset,
    added_dataset_ids: [added],
    heldout_dataset_id: heldout,
    options: { mode: 'head', base_policy_version_id: policy },
  }),
  'finetunes.list': () => ({}),
  'finetunes.get': ({ finetune }) => ({ id: finetune }),
  'finetunes.cancel': ({ finetune }) => ({ id: finetune }),
  'finetunes.pause': ({ finetune }) => ({ id: finetune }),
  'finetunes.resume': ({ finetune }) => ({ id: finetune }),
  'finetunes.retry': ({ failed }) => ({ id: failed }),
  'finetunes.events': ({ finetune }) => ({ id: finetune }),
  'finetunes.metrics': ({ finetune }) => ({ id: finetune }),
  'finetunes.checkpoints': ({ finetune }) => ({ id: finetune }),
  'policies.list': () => ({}),
  'policies.get': ({ policy }) => ({ id: policy }),
  'policies.files': ({ policy }) => ({ id: policy }),
  'policies.deploy': ({ policy }) => ({ id: policy }),
  'policies.canary': ({ canary }) => ({ id: canary, share: 0.5 }),
  'policies.score': ({ policy }) => ({ id: policy, simulator: 's', episodes: 2, successes: 1 }),
  'policies.retire': ({ unused }) => ({ id: unused }),
  'sessions.create': ({ embodiment, policy }) => ({
    robot: 'r',
    embodiment_id: embodiment,
    policy_version_id: policy,
  }),
  'sessions.resume': ({ session }) => ({ id: session }),
  'sessions.end': ({ session }) => ({ id: session }),
  'sessions.list': () => ({}),
  'sessions.get': ({ session }) => ({ id: session }),
  'webhooks.create': () => ({ url: 'https://example.com/hook', events: ['finetune.failed'] }),
  'webhooks.list': () => ({}),
  'webhooks.get': ({ webhook }) => ({ id: webhook }),
  'webhooks.update': ({ webhook }) => ({ id: webhook, enabled: true }),
  'webhooks.delete': ({ webhook }) => ({ id: webhook }),
  'webhooks.rotate': ({ webhook }) => ({ id: webhook }),
  'webhooks.test': ({ webhook }) => ({ id: webhook }),
  'webhooks.deliveries': ({ webhook }) => ({ id: webhook }),
  'webhooks.replay': ({ delivery }) => ({ id: delivery }),
  'usage.get': ({ session }) => ({ session_id: session }),
  'usage.lines': () => ({}),
  'prices.list': () => ({}),
  'reasoning.list': ({ session }) => ({ session_id: session }),
};

/** Whether a field names rows, one or several. */
const namesRows = (field: string): boolean => /(^|_)ids?$/.test(field) || field === 'subject';

export type FieldPath = readonly string[];

/** Where an input names rows, at any depth. */
export function idPaths(input: unknown, at: FieldPath = []): FieldPath[] {
  if (typeof input !== 'object' || input === null) return [];
  return Object.entries(input).flatMap(([field, value]) =>
    namesRows(field) ? [[...at, field]] : idPaths(value, [...at, field]),
  );
}

/** Where inputs of a schema may name rows, at any depth; elements of lists have the list's path. */
export function schemaIdPaths(schema: unknown, at: FieldPath = []): FieldPath[] {
  if (schema instanceof z.ZodObject) {
    return Object.entries(schema.shape).flatMap(([field, value]) =>
      namesRows(field) ? [[...at, field]] : schemaIdPaths(value, [...at, field]),
    );
  }
  if (schema instanceof z.ZodArray) return schemaIdPaths(schema.element, at);
  if (schema instanceof z.ZodRecord) return schemaIdPaths(schema.valueType, at);
  if (schema instanceof z.ZodUnion) {
    return schema.options.flatMap((option) => schemaIdPaths(option, at));
  }
  if (schema instanceof z.ZodPipe) return schemaIdPaths(schema.in, at);
  const isWrapped =
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodReadonly;
  return isWrapped ? schemaIdPaths(schema.unwrap(), at) : [];
}

export function valueAt(input: unknown, [field, ...rest]: FieldPath): unknown {
  if (field === undefined) return input;
  return valueAt((input as Record<string, unknown>)[field], rest);
}

/** The input with another value at a path. */
export function withValue(input: unknown, [field, ...rest]: FieldPath, value: unknown): object {
  const fields = input as Record<string, unknown>;
  if (field === undefined) throw new Error('a path has a field');
  return {
    ...fields,
    [field]: rest.length === 0 ? value : withValue(fields[field], rest, value),
  };
}

/** What would spoil the world for the verbs after it. */
export const SPOILING: ReadonlySet<RouteName> = new Set([
  'keys.revoke',
  'members.remove',
  'invitations.revoke',
  'datasets.delete',
  'finetunes.cancel',
  'sessions.end',
  'webhooks.delete',
]);

import { readFile } from 'node:fs/promises';
import { connect, newId, policyVersions, withTenant } from '@armature/db';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import {
  ArmatureError,
  problemSchema,
  routes,
  toRequest,
  type RouteInput,
  type RouteName,
  type RouteOutput,
} from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';
import { z } from 'zod';
import { readJson, writeJson } from '../json-file.ts';
import { sampleSpec } from './embodiment.ts';
import { sampleVersion } from './version.ts';

const deployedSchema = z.strictObject({ embodiment_id: z.string(), base_digest: z.string() });

export interface SampleOptions {
  /** Remembers what was deployed. */
  readonly file: string;
  readonly apiUrl: string;
  readonly apiKey: string;
  /** As the role armature_worker. */
  readonly databaseUrl: string;
  readonly store: Pick<ObjectStore, 'put'>;
}

/**
 * Makes the development tenant's sample arm and deploys a version for it, once for each base model,
 * so that a client has something to talk to before anything was trained; returns the arm's id.
 * @throws ArmatureError with the API's own words.
 */
export async function deploySample(options: SampleOptions): Promise<string> {
  const base = loadBase(await readFile(baseWeightsUrl('nano')));
  const known = readJson(options.file, deployedSchema);
  if (known?.base_digest === base.digest) return known.embodiment_id;
  const embodimentId =
    known?.embodiment_id ?? (await call(options, 'embodiments.create', { spec: sampleSpec })).id;
  const tenant = await call(options, 'tenants.current', {});
  const version = sampleVersion(base);
  const prefix = `tenants/${tenant.id}/policies/${version.digest}/`;
  await options.store.put(`${prefix}head.safetensors`, version.head, {
    contentType: 'application/octet-stream',
  });
  await options.store.put(`${prefix}manifest.json`, version.manifestBytes, {
    contentType: 'application/json',
  });
  const id = newId('pv');
  const db = connect(options.databaseUrl, { max: 1, name: 'armature-sample' });
  try {
    await withTenant(db, tenant.id, async (tx) => {
      await tx.insert(policyVersions).values({
        id,
        tenantId: tenant.id,
        embodimentId,
        name: 'sample (untrained head)',
        digest: version.digest,
        prefix,
        statsHash: version.manifest.stats_hash,
        preprocessHash: version.manifest.preprocess_hash,
        mode: version.manifest.mode,
        sampler: version.manifest.sampler,
        bytes: version.head.length + version.manifestBytes.length,
      });
    });
  } finally {
    await db.close();
  }
  await call(options, 'policies.deploy', { id });
  writeJson(options.file, { embodiment_id: embodimentId, base_digest: base.digest });
  return embodimentId;
}

async function call<N extends RouteName>(
  { apiUrl, apiKey }: SampleOptions,
  name: N,
  input: RouteInput<N>,
): Promise<RouteOutput<N>> {
  const { method, path, output } = routes[name];
  const request = toRequest(method, path, input);
  const response = await fetch(new URL(request.path, apiUrl), {
    method,
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    ...(request.body === undefined ? {} : { body: request.body }),
  });
  const body: unknown = await response.json();
  if (!response.ok) throw ArmatureError.fromProblem(problemSchema.parse(body));
  return output.parse(body) as RouteOutput<N>;
}

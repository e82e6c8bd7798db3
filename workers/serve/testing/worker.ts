import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ArmatureError, type SessionClaims } from '@armature/sdk/contract';
import { systemClock, type Clock } from '../clock.ts';
import { tokenVerifier, type KeyAges, type OpenpiAccess } from '../gateway/index.ts';
import { startIssuer, type Issuer } from '../gateway/testing/issuer.ts';
import { ImagePool } from '../images/index.ts';
import { Ledger } from '../ledger/index.ts';
import { MemorySink, silent } from '../ledger/testing/entries.ts';
import { serveMetrics } from '../metrics.ts';
import type { PolicyManifest, PolicyPort } from '../policies/index.ts';
import { startServe, type ServeParts } from '../start.ts';
import { FakeRuntime } from './fake-runtime.ts';
import { armSpec, claimsFor, TEST_WORKER } from './robots.ts';

/** An object store in memory. */
export class MemoryStore {
  readonly objects = new Map<string, Uint8Array>();
  gets = 0;

  async get(key: string): Promise<Uint8Array> {
    this.gets += 1;
    const found = this.objects.get(key);
    if (found === undefined) throw new ArmatureError('not_found', `there is no ${key}`);
    return found;
  }
}

/** Stores a policy version for the fake model; `name` makes it one of its own. */
export function storePolicy(
  store: MemoryStore,
  tenant: string,
  name: string,
  spec = armSpec(),
  more: Pick<PolicyManifest, 'prefix_delay_max'> = {},
): SessionClaims['policy'] {
  const head = Buffer.from(`weights of ${name}`);
  const manifest = {
    format: 'armature-policy/1',
    name,
    spec,
    preprocess_hash: 'p1',
    stats_hash: 's1',
    image: { width: 32, height: 32 },
    sampler: { steps: 4, noise_scale: 0 },
    ...more,
    files: { 'head.safetensors': { sha256: sha256(head), size: head.length } },
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = sha256(bytes);
  const prefix = `tenants/${tenant}/policies/${digest}/`;
  store.objects.set(`${prefix}manifest.json`, bytes);
  store.objects.set(`${prefix}head.safetensors`, head);
  return { version_id: `pv_${name}`, digest, prefix };
}

function readAnyManifest(bytes: Uint8Array): PolicyManifest {
  return JSON.parse(Buffer.from(bytes).toString()) as PolicyManifest;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export interface WorkerOptions {
  /** Its id, for which tokens must be; `TEST_WORKER` unless told. */
  readonly worker?: string;
  readonly runtime?: PolicyPort;
  readonly engines?: ServeParts['engines'];
  readonly threadsAlive?: () => boolean;
  readonly tenantLimit?: number;
  /** Address that it listens on; loopback unless told. */
  readonly host?: string;
  readonly clock?: Clock;
  readonly policySlots?: number;
  readonly pingEveryMs?: number;
  readonly buckets?: readonly number[];
  /** Keys of the tokens that are let in; those of the worker's own issuer unless told. */
  readonly jwksUrl?: string;
  readonly keyAges?: KeyAges;
  readonly readManifest?: (bytes: Uint8Array) => PolicyManifest;
  readonly openpi?: (issuer: Issuer) => Pick<OpenpiAccess, 'open'>;
  /** Image threads to use, and to leave running at the end. */
  readonly images?: Pick<ImagePool, 'prepare'>;
}

/** A whole worker on a loopback port, with real sockets, keys, pictures and spool. */
export async function startWorker(options: WorkerOptions = {}) {
  const worker = options.worker ?? TEST_WORKER;
  const fake = new FakeRuntime();
  const issuer = await startIssuer();
  const images = options.images ?? (await ImagePool.start(1, () => {}));
  const store = new MemoryStore();
  const sink = new MemorySink();
  const dir = mkdtempSync(path.join(tmpdir(), 'armature-serve-'));
  const metrics = serveMetrics();
  const onFlushed = (entries: number) => metrics.flushed.inc(entries);
  const ledger = new Ledger({ dir, sink, log: silent, flushMs: 5, onFlushed });
  const { gateway, waiting } = await startServe({
    worker,
    host: options.host ?? '127.0.0.1',
    port: 0,
    maxSessions: 100,
    ...(options.pingEveryMs === undefined ? {} : { pingEveryMs: options.pingEveryMs }),
    buckets: options.buckets ?? [1, 2, 4, 8, 16, 32],
    policySlots: options.policySlots ?? 8,
    runtime: options.runtime ?? fake,
    ...(options.engines === undefined ? {} : { engines: options.engines }),
    ...(options.tenantLimit === undefined ? {} : { tenantLimit: options.tenantLimit }),
    ...(options.threadsAlive === undefined ? {} : { threadsAlive: options.threadsAlive }),
    store,
    readManifest: options.readManifest ?? readAnyManifest,
    verify: tokenVerifier(options.jwksUrl ?? issuer.jwksUrl, options.keyAges),
    ...(options.openpi === undefined ? {} : { openpi: options.openpi(issuer) }),
    images,
    ledger,
    metrics,
    clock: options.clock ?? systemClock,
    log: silent,
  });
  return {
    port: gateway.port,
    gateway,
    metrics,
    waiting,
    issuer,
    store,
    sink,
    ledger,
    runtime: fake,
    /** Claims of a session whose policy lies in the store. */
    claims(over: Partial<SessionClaims> = {}, policy = 'one'): SessionClaims {
      const tenant = over.tenant ?? 'ten_a';
      const spec = over.embodiment?.spec ?? armSpec();
      return claimsFor({
        worker,
        ...over,
        tenant,
        policy: storePolicy(store, tenant, policy, spec),
      });
    },
    async stop(): Promise<void> {
      await gateway.close(0, 0);
      await ledger.flush(1000);
      await ledger.close();
      if (images instanceof ImagePool && images !== options.images) await images.close();
      await issuer.close();
      rmSync(dir, { recursive: true });
    },
  };
}

export type TestWorker = Awaited<ReturnType<typeof startWorker>>;

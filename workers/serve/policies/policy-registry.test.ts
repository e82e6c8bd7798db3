import { createHash } from 'node:crypto';
import { PolicyError } from '@armature/policy/runtime';
import { describe, expect, it, vi } from 'vitest';
import { FakeRuntime } from '../testing/fake-runtime.ts';
import { armSpec } from '../testing/robots.ts';
import { MemoryStore, storePolicy } from '../testing/worker.ts';
import { assertCompatible } from './compatibility.ts';
import { fetchPolicy, type PolicyRef } from './fetch-policy.ts';
import { PolicyRegistry } from './policy-registry.ts';
import type { PolicyManifest } from './port.ts';

function bench(capacity = 2) {
  const runtime = new FakeRuntime();
  const store = new MemoryStore();
  const read = (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString()) as PolicyManifest;
  const onError = vi.fn();
  const registry = new PolicyRegistry({
    runtime,
    fetch: (ref) => fetchPolicy(store, ref, read),
    capacity,
    onError,
  });
  const ref = (name: string, tenant = 'ten_a'): PolicyRef => {
    const { version_id: versionId, ...rest } = storePolicy(store, tenant, name);
    return { tenant, versionId, ...rest };
  };
  return { runtime, store, registry, ref, onError };
}

describe('PolicyRegistry', () => {
  it('fetches and loads a version once, however many ask at once', async () => {
    const { runtime, registry, ref, store } = bench();
    const leases = await Promise.all([1, 2, 3].map(() => registry.acquire(ref('one'))));
    expect(runtime.loads).toBe(1);
    expect(store.gets).toBe(2);
    expect(new Set(leases.map((lease) => lease.policy)).size).toBe(1);
    expect(registry.counts).toEqual({ held: 1, pinned: 1 });
  });

  it('keeps what is pinned and lets go of the least recently used', async () => {
    const { runtime, registry, ref } = bench(2);
    const [a, b, c] = [ref('a'), ref('b'), ref('c')];
    const pinned = await registry.acquire(a);
    (await registry.acquire(b)).release();
    (await registry.acquire(c)).release();
    expect(runtime.unloaded).toEqual([b.digest]);
    pinned.release();
    pinned.release();
    (await registry.acquire(a)).release();
    (await registry.acquire(b)).release();
    expect(runtime.unloaded).toEqual([b.digest, c.digest]);
  });

  it('counts a version as used until it is let go, not when it was asked for', async () => {
    const { runtime, registry, ref } = bench(2);
    const [long, idle, next] = [ref('long'), ref('idle'), ref('next')];
    const used = await registry.acquire(long);
    (await registry.acquire(idle)).release();
    used.release();
    await registry.acquire(next);
    expect(runtime.unloaded).toEqual([idle.digest]);
  });

  it('refuses a version while sessions hold every place, and takes it afterwards', async () => {
    const { registry, ref } = bench(1);
    const held = await registry.acquire(ref('a'));
    await expect(registry.acquire(ref('b'))).rejects.toMatchObject({ code: 'unavailable' });
    held.release();
    await registry.acquire(ref('b'));
  });

  it('does not remember a failure', async () => {
    const { registry, runtime, ref, onError } = bench();
    runtime.onLoad = () => Promise.reject(new Error('out of memory'));
    await expect(registry.acquire(ref('a'))).rejects.toMatchObject({ code: 'unavailable' });
    expect(onError).toHaveBeenCalledOnce();
    runtime.onLoad = () => Promise.resolve();
    await registry.acquire(ref('a'));
  });

  it('says which refusals are the policy’s own', async () => {
    const { registry, runtime, ref } = bench();
    const refusal = new PolicyError('invalid_weights', 'NaN in head.out.weight');
    runtime.onLoad = () => Promise.reject(refusal);
    await expect(registry.acquire(ref('a'))).rejects.toMatchObject({
      code: 'incompatible_policy',
      message: expect.stringContaining('NaN in head.out.weight') as string,
    });
  });

  it.each(['manifest.json', 'head.safetensors'])('refuses a damaged %s', async (name) => {
    const { registry, ref, store } = bench();
    const damaged = ref('a');
    const bytes = Buffer.from(store.objects.get(`${damaged.prefix}${name}`)!);
    bytes[3]! ^= 1;
    store.objects.set(`${damaged.prefix}${name}`, bytes);
    await expect(registry.acquire(damaged)).rejects.toMatchObject({
      code: 'checksum_mismatch',
      message: expect.stringContaining(name) as string,
    });
  });

  it('never reads outside the tenant’s own policies', async () => {
    const { registry, ref, store } = bench();
    const theirs = ref('a', 'ten_b');
    await expect(registry.acquire({ ...theirs, tenant: 'ten_a' })).rejects.toMatchObject({
      code: 'forbidden',
    });
    expect(store.gets).toBe(0);
  });
});

describe('fetchPolicy', () => {
  it('lets the event loop turn while it digests a large file', async () => {
    const store = new MemoryStore();
    const weights = new Uint8Array(32 << 20);
    const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
    const files = { 'head.safetensors': { sha256: sha256(weights), size: weights.length } };
    const manifest = Buffer.from(JSON.stringify({ files }));
    const prefix = 'tenants/ten_a/policies/large/';
    store.objects.set(`${prefix}manifest.json`, manifest);
    store.objects.set(`${prefix}head.safetensors`, weights);
    let turns = 0;
    const turn = () => {
      turns += 1;
      next = setImmediate(turn);
    };
    let next = setImmediate(turn);
    const ref = { tenant: 'ten_a', versionId: 'pv_1', digest: sha256(manifest), prefix };
    await fetchPolicy(
      store,
      ref,
      (bytes) => JSON.parse(Buffer.from(bytes).toString()) as PolicyManifest,
    );
    clearImmediate(next);
    expect(turns).toBeGreaterThan(100);
  });
});

describe('assertCompatible', () => {
  const manifest = { spec: armSpec() } as PolicyManifest;

  it('lets limits differ', () => {
    const spec = armSpec();
    spec.action = spec.action.map((joint) => ({ ...joint, max: 1 }));
    expect(() => assertCompatible(spec, manifest)).not.toThrow();
  });

  it.each<[string, Parameters<typeof armSpec>[0]]>([
    ['state', { state: [{ name: 'elbow', unit: 'rad' }] }],
    ['action', { action: armSpec().action.toReversed() }],
    ['cameras', { cameras: [{ name: 'rear', kind: 'external', width: 64, height: 48 }] }],
    ['horizon', { horizon: 16 }],
  ])('names a %s that differs', (field, over) => {
    expect(() => assertCompatible(armSpec(over), manifest)).toThrow(
      expect.objectContaining({ code: 'incompatible_policy', field: `embodiment.${field}` }),
    );
  });
});

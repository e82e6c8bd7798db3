import { describe, expect, it } from 'vitest';
import { loadConfig } from './config.ts';

const env = {
  PORT: '0',
  PUBLIC_URL: 'ws://127.0.0.1:8000',
  WORKER_ID: 'serve-1',
  DATABASE_URL: 'postgres://localhost/armature',
  JWKS_URL: 'http://127.0.0.1:9000/.well-known/jwks.json',
  SPOOL_DIR: '/tmp/spool',
  STORE_KIND: 'disk',
  STORE_ROOT: '/tmp/store',
  STORE_PUBLIC_URL: 'http://127.0.0.1:9000',
  STORE_SECRET: 'secret',
};

describe('loadConfig', () => {
  it('reads what it needs and fills in the rest', () => {
    expect(loadConfig(env)).toMatchObject({ PORT: 0, MAX_BATCH: 32, store: { kind: 'disk' } });
    expect(loadConfig({ ...env, ENGINE_THREADS: '1' }).ENGINE_THREADS).toBe(1);
  });

  it.each([
    ['PORT', '70000'],
    ['PUBLIC_URL', 'http://127.0.0.1:8000'],
    ['WORKER_ID', undefined],
    ['JWKS_URL', 'file:///etc/passwd'],
    ['ENGINE_THREADS', 'many'],
    ['STORE_KIND', 'tape'],
  ])('names %s when it is %s', (field, value) => {
    expect(() => loadConfig({ ...env, [field]: value })).toThrow(
      expect.objectContaining({ code: 'invalid_request', field }),
    );
  });
});

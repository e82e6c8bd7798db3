import { describe, expect, it } from 'vitest';
import { readConfig } from './config.ts';

const env = {
  WORKER_ID: 'w1',
  DATABASE_URL: 'postgres://localhost/armature',
  CACHE_DIR: '/tmp/cache',
  ENGINE_THREADS: '2',
  STORE_KIND: 'disk',
  STORE_ROOT: '/tmp/store',
  STORE_PUBLIC_URL: 'http://localhost',
  STORE_SECRET: 'x'.repeat(32),
};

describe('readConfig', () => {
  it('fills what is not set', () => {
    expect(readConfig(env)).toMatchObject({
      workerId: 'w1',
      engineThreads: 2,
      executionProvider: 'cpu',
      leaseMs: 15_000,
      checkpointEveryS: 30,
      cacheMaxBytes: 20e9,
      vision: null,
      store: { kind: 'disk' },
    });
    const vision = { VISION_ENDPOINT_URL: 'http://localhost:1/v1', VISION_ENDPOINT_MODEL: 'm' };
    expect(readConfig({ ...env, ...vision }).vision).toEqual({
      url: 'http://localhost:1/v1',
      key: 'none',
      model: 'm',
    });
  });

  it.each([
    ['WORKER_ID', { WORKER_ID: '' }],
    ['ENGINE_THREADS', { ENGINE_THREADS: '0' }],
    ['EXECUTION_PROVIDER', { EXECUTION_PROVIDER: 'tpu' }],
    ['STORE_ROOT', { STORE_ROOT: '' }],
    ['VISION_ENDPOINT_MODEL', { VISION_ENDPOINT_URL: 'http://localhost:1/v1' }],
  ])('names %s when it is wrong', (field, over) => {
    expect(() => readConfig({ ...env, ...over })).toThrow(
      expect.objectContaining({ code: 'invalid_request', field }),
    );
  });
});

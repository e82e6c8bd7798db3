import type { ObjectStore } from './port.ts';

/** A store that is made when it is first used: what its adapter imports is loaded only then. */
export function lazyStore(make: () => Promise<ObjectStore>, minPartBytes: number): ObjectStore {
  let made: Promise<ObjectStore> | undefined;
  const store = (): Promise<ObjectStore> => (made ??= make());
  return {
    put: async (key, bytes, options) => (await store()).put(key, bytes, options),
    get: async (key, range) => (await store()).get(key, range),
    head: async (key) => (await store()).head(key),
    list: (prefix) => listOf(store, prefix),
    delete: async (key) => (await store()).delete(key),
    deletePrefix: async (prefix) => (await store()).deletePrefix(prefix),
    copy: async (from, to) => (await store()).copy(from, to),
    presignGet: async (key, expiresInS) => (await store()).presignGet(key, expiresInS),
    presignPut: async (key, options) => (await store()).presignPut(key, options),
    minPartBytes,
    createMultipart: async (key, options) => (await store()).createMultipart(key, options),
    presignPart: async (key, options) => (await store()).presignPart(key, options),
    listParts: async (key, uploadId) => (await store()).listParts(key, uploadId),
    completeMultipart: async (key, uploadId, parts) =>
      (await store()).completeMultipart(key, uploadId, parts),
    abortMultipart: async (key, uploadId) => (await store()).abortMultipart(key, uploadId),
    listMultiparts: (prefix) => multipartsOf(store, prefix),
  };
}

async function* listOf(store: () => Promise<ObjectStore>, prefix: string) {
  yield* (await store()).list(prefix);
}

async function* multipartsOf(store: () => Promise<ObjectStore>, prefix: string) {
  yield* (await store()).listMultiparts(prefix);
}

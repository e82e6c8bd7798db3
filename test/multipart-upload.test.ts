import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { Armature, pushDataset } from '@armature/sdk';
import { type FilePart, MAX_PUT_BYTES, type UploadPart } from '@armature/sdk/contract';
import { openStore, type ObjectStore } from '@armature/storage';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './support/api.ts';
import { armSpec, fileOf } from './support/robots.ts';
import { findVersitygw, startVersitygw, type RunningVersitygw } from './support/versitygw.ts';

const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** A file in parts of `partBytes`, the last one small. */
function large(path: string, partBytes: number) {
  const bodies = [partBytes, partBytes, 1_000].map((size, n) => Buffer.alloc(size, n + 65));
  const parts: FilePart[] = bodies.map((body) => ({ size: body.length, sha256: sha(body) }));
  return { bodies, file: { ...fileOf(path, Buffer.concat(bodies)), parts } };
}

async function put({ url, method, headers }: UploadPart, body: Uint8Array): Promise<number> {
  const answer = await fetch(url, { method, headers, body });
  await answer.arrayBuffer();
  return answer.status;
}

const binary = findVersitygw();
if (binary === null && process.env['ARMATURE_REQUIRE_S3'] === '1') {
  throw new Error('ARMATURE_REQUIRE_S3 is 1 and there is no versitygw');
}

describe.each([
  { kind: 'disk', partBytes: 100_000 },
  { kind: 's3', partBytes: 5 * 2 ** 20 },
])('an upload by parts on $kind', ({ kind, partBytes }) => {
  const isSkipped = kind === 's3' && binary === null;
  let server: RunningVersitygw | undefined;
  let api: TestApi;
  let store: ObjectStore;
  let key: string;
  let tenant: string;
  let embodiment: string;
  const small = Buffer.from('{}');
  const { bodies, file } = large('videos/long.mp4', partBytes);
  const bodyOf = ({ part }: UploadPart): Buffer =>
    part === undefined ? small : (bodies[part.number - 1] ?? small);

  beforeAll(async () => {
    if (isSkipped) return;
    if (kind === 's3' && binary !== null) {
      server = await startVersitygw(binary);
      const { endpoint, accessKeyId, secretAccessKey } = server;
      const at = { endpoint, region: 'us-east-1', forcePathStyle: true };
      const credentials = { accessKeyId, secretAccessKey };
      await new S3Client({ ...at, credentials }).send(new CreateBucketCommand({ Bucket: 'sets' }));
      store = openStore({ kind: 's3', bucket: 'sets', ...at, ...credentials });
      api = await startTestApi({ objectStore: store });
    } else {
      api = await startTestApi();
      ({ store } = api);
    }
    ({ id: tenant, key } = await api.tenant());
    ({ id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec }));
  });
  afterAll(async () => {
    if (isSkipped) return;
    await api.stop();
    await server?.stop();
  });

  const create = (files: Parameters<typeof api.must<'datasets.create'>>[2]['files']) =>
    api.must('datasets.create', key, { name: 'long', embodiment_id: embodiment, files });
  const placeOf = (id: string, path: string) => `tenants/${tenant}/datasets/${id}/files/${path}`;
  const openUploads = async () => {
    const found: string[] = [];
    for await (const upload of store.listMultiparts('tenants/')) found.push(upload.key);
    return found;
  };

  it.skipIf(isSkipped)(
    'goes on with the parts that are missing, and takes none once sealed',
    async () => {
      const plan = await create([fileOf('meta/info.json', small), file]);
      const { id } = plan.dataset;
      expect(plan.dataset).toMatchObject({ files: 2, bytes: file.size + 2 });
      expect(plan.parts.map(({ path, size, part }) => [path, size, part])).toEqual([
        ['meta/info.json', 2, undefined],
        [file.path, partBytes, { number: 1, offset: 0 }],
        [file.path, partBytes, { number: 2, offset: partBytes }],
        [file.path, 1_000, { number: 3, offset: 2 * partBytes }],
      ]);
      const [info, , second, last] = plan.parts;
      if (info === undefined || second === undefined || last === undefined) throw new Error('four');
      for (const wrong of [
        Buffer.alloc(1_000, 1),
        Buffer.alloc(999, 67),
        Buffer.alloc(1_001, 67),
      ]) {
        const status = await put(last, wrong);
        expect([status >= 400, status < 500]).toEqual([true, true]);
      }
      for (const part of [info, second]) expect(await put(part, bodyOf(part))).toBe(200);

      expect(await api.call('datasets.complete', key, { id })).toMatchObject({
        status: 422,
        problem: { code: 'incomplete_upload', field: file.path },
      });
      const again = await api.must('datasets.plan', key, { id });
      expect(again.parts.map(({ part }) => part?.number)).toEqual([1, 3]);
      for (const part of again.parts.toReversed()) expect(await put(part, bodyOf(part))).toBe(200);
      expect((await api.must('datasets.plan', key, { id })).parts).toEqual([]);
      const [one, two] = await Promise.all([
        api.must('datasets.complete', key, { id }),
        api.must('datasets.complete', key, { id }),
      ]);
      expect([one.status, two.status]).toEqual(['validating', 'validating']);
      expect(sha(await store.get(placeOf(id, file.path)))).toBe(file.sha256);
      const late = await put(last, bodyOf(last));
      expect([late >= 400, late < 500]).toEqual([true, true]);
      expect(await openUploads()).toEqual([]);
    },
  );

  it.skipIf(isSkipped)('is refused where the whole is not what was announced', async () => {
    const { dataset, parts } = await create([{ ...file, sha256: sha(small) }]);
    const { id } = dataset;
    for (const part of parts) expect(await put(part, bodyOf(part))).toBe(200);
    expect(await api.call('datasets.complete', key, { id })).toMatchObject({
      problem: { code: 'checksum_mismatch', field: file.path },
    });
    expect(await store.head(placeOf(id, file.path))).toBeNull();
    expect((await api.must('datasets.plan', key, { id })).parts).toHaveLength(3);
    await api.must('datasets.delete', key, { id });
    expect(await openUploads()).toEqual([]);
  });

  it.skipIf(isSkipped)('is refused where its parts are not its file', async () => {
    const refusal = async (over: object) => {
      const files = [{ ...file, ...over }];
      const input = { name: 'long', embodiment_id: embodiment, files };
      return (await api.call('datasets.create', key, input)).problem;
    };
    const field = 'files[0].parts';
    expect(await refusal({ size: file.size + 1 })).toMatchObject({
      code: 'invalid_request',
      field,
    });
    expect(await refusal({ size: MAX_PUT_BYTES + 1, parts: undefined })).toMatchObject({ field });
    expect(await refusal({ parts: file.parts.slice(0, 1) })).toMatchObject({
      code: 'invalid_request',
    });
    if (kind === 's3') {
      const parts = [{ size: 5, sha256: file.sha256 }, ...file.parts.slice(0, 1)];
      expect(await refusal({ parts, size: 5 + partBytes })).toMatchObject({
        code: 'invalid_request',
        field: `${field}[0].size`,
      });
    }
    expect(await openUploads()).toEqual([]);
  });

  it.skipIf(isSkipped)('is what the SDK makes of a file above its part size', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'armature-parts-'));
    try {
      await mkdir(join(dir, 'videos'));
      await writeFile(join(dir, file.path), Buffer.concat(bodies));
      await writeFile(join(dir, 'info.json'), small);
      const seen: { done: number; total: number }[] = [];
      const set = await pushDataset({
        client: new Armature({ apiUrl: api.url, apiKey: key }),
        dir,
        name: 'by parts',
        embodimentId: embodiment,
        partBytes,
        validate: false,
        onProgress: ({ phase, done, total }) => {
          if (phase === 'upload') seen.push({ done, total });
        },
      });
      expect(set.status).toBe('validating');
      expect(seen.at(-1)).toEqual({ done: file.size + 2, total: file.size + 2 });
      expect(sha(await store.get(placeOf(set.id, file.path)))).toBe(file.sha256);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});

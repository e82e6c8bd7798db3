import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { ObjectStore } from './port.ts';

const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const code = (expected: string) => expect.objectContaining({ code: expected }) as unknown;

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

/** What every adapter of the port must do; `store()` is called inside the tests. */
export function objectStoreContract(store: () => ObjectStore): void {
  const unique = () => `tenants/ten_contract/${randomUUID()}`;

  describe('objects', () => {
    it('gives back what was put, with its sha256 and size', async () => {
      const key = `${unique()}/data.bin`;
      const bytes = randomBytes(100_003);
      expect(await store().put(key, bytes)).toEqual({ sha256: sha(bytes), size: bytes.length });
      expect(Buffer.from(await store().get(key)).equals(bytes)).toBe(true);
      expect(await store().head(key)).toEqual({ size: bytes.length, sha256: sha(bytes) });
    });

    it('replaces an object and its sha256', async () => {
      const key = `${unique()}/data.bin`;
      await store().put(key, Buffer.from('first'));
      await store().put(key, Buffer.from('second one'));
      expect(Buffer.from(await store().get(key)).toString()).toBe('second one');
      expect(await store().head(key)).toEqual({ size: 10, sha256: sha(Buffer.from('second one')) });
    });

    it('stores an empty object', async () => {
      const key = `${unique()}/empty`;
      await store().put(key, new Uint8Array());
      expect((await store().get(key)).length).toBe(0);
      expect((await store().head(key))?.size).toBe(0);
    });

    it('reads ranges, cut at the end of the object', async () => {
      const key = `${unique()}/range`;
      await store().put(key, Buffer.from('0123456789'));
      const read = async (start: number, end: number) =>
        Buffer.from(await store().get(key, { start, end })).toString();
      expect(await read(0, 1)).toBe('0');
      expect(await read(3, 7)).toBe('3456');
      expect(await read(7, 99)).toBe('789');
      await expect(read(10, 11)).rejects.toEqual(code('invalid_request'));
      await expect(read(4, 4)).rejects.toEqual(code('invalid_request'));
      await expect(read(-1, 4)).rejects.toEqual(code('invalid_request'));
    });

    it('says not_found or null for what is absent', async () => {
      const key = `${unique()}/absent`;
      await expect(store().get(key)).rejects.toEqual(code('not_found'));
      await expect(store().copy(key, `${key}-2`)).rejects.toEqual(code('not_found'));
      expect(await store().head(key)).toBeNull();
      await store().delete(key);
    });

    it('copies', async () => {
      const from = `${unique()}/from`;
      const to = `${unique()}/to`;
      const bytes = randomBytes(4096);
      await store().put(from, bytes);
      await store().copy(from, to);
      expect(Buffer.from(await store().get(to)).equals(bytes)).toBe(true);
      expect(await store().head(to)).toEqual({ size: 4096, sha256: sha(bytes) });
    });

    it('lists the time of the last put', async () => {
      const key = `${unique()}/a`;
      const times: number[] = [];
      for (const text of ['one', 'another']) {
        await store().put(key, Buffer.from(text));
        for await (const { modifiedAt } of store().list(key)) times.push(modifiedAt.getTime());
      }
      const [first = NaN, second = NaN] = times;
      expect(times).toHaveLength(2);
      expect(second).toBeGreaterThanOrEqual(first);
      // Of this hour, whatever the clocks' difference.
      expect(Math.abs(Date.now() - first)).toBeLessThan(3_600_000);
    });

    it('lists in byte order by any prefix and deletes by prefix', async () => {
      const base = unique();
      const names = ['a/1', 'a/2', 'a-b/1', 'a.txt', 'ab/deep/er/1', 'b'];
      for (const name of names) await store().put(`${base}/${name}`, Buffer.from(name));
      const sorted = names.map((name) => `${base}/${name}`).sort();
      expect(await keysOf(store(), `${base}/`)).toEqual(sorted);
      expect(await keysOf(store(), `${base}/a/`)).toEqual([`${base}/a/1`, `${base}/a/2`]);
      expect(await keysOf(store(), `${base}/a`)).toEqual(sorted.slice(0, 5));
      expect(await keysOf(store(), `${base}/zzz`)).toEqual([]);
      expect(await store().deletePrefix(`${base}/a/`)).toBe(2);
      await store().delete(`${base}/b`);
      expect(await keysOf(store(), `${base}/`)).toEqual(
        sorted.filter((key) => !key.includes('/a/') && !key.endsWith('/b')),
      );
      expect(await store().deletePrefix(`${base}/`)).toBe(3);
      expect(await store().deletePrefix(`${base}/`)).toBe(0);
    });

    it.each([
      '',
      '/',
      '/etc/passwd',
      '../up',
      'a/../b',
      'a/./b',
      'a//b',
      'a/',
      'a\\b',
      'a\0b',
      'ä',
    ])('refuses the key %j', async (key) => {
      const refused = code('invalid_request');
      await expect(store().put(key, Buffer.from('x'))).rejects.toEqual(refused);
      await expect(store().get(key)).rejects.toEqual(refused);
      await expect(store().head(key)).rejects.toEqual(refused);
      await expect(store().delete(key)).rejects.toEqual(refused);
      await expect(store().copy(key, 'a')).rejects.toEqual(refused);
      await expect(store().copy('a', key)).rejects.toEqual(refused);
      await expect(
        (async () =>
          store().presignPut(key, {
            size: 1,
            sha256: sha(Buffer.from('x')),
            contentType: 'text/plain',
            expiresInS: 60,
          }))(),
      ).rejects.toEqual(refused);
    });
  });

  describe('presigned downloads', () => {
    it('read the object, whole and from a byte on, and nothing else', async () => {
      const key = `${unique()}/down`;
      const bytes = randomBytes(2_500_000);
      await store().put(key, bytes);
      const url = await store().presignGet(key, 60);
      const read = async (from: string, headers: Record<string, string> = {}) => {
        const answer = await fetch(from, { headers });
        return { status: answer.status, bytes: Buffer.from(await answer.arrayBuffer()) };
      };
      const whole = await read(url);
      expect(whole.status).toBe(200);
      expect(whole.bytes.equals(bytes)).toBe(true);
      const rest = await read(url, { range: 'bytes=1000001-' });
      expect(rest.status).toBe(206);
      expect(rest.bytes.equals(bytes.subarray(1_000_001))).toBe(true);

      await store().put(`${key}2`, bytes);
      const upload = await store().presignPut(key, {
        size: 1,
        sha256: sha(Buffer.from('x')),
        contentType: 'text/plain',
        expiresInS: 60,
      });
      const short = await store().presignGet(key, 1);
      const absent = await store().presignGet(`${key}3`, 60);
      await new Promise((resolve) => setTimeout(resolve, 2100));
      const refusals = [
        read(url.replace('/down?', '/down2?')),
        read(
          url.replace(/([?&](?:X-Amz-S|s)ignature=)(.)/, (_, name, c) =>
            [name, c === 'a' ? 'b' : 'a'].join(''),
          ),
        ),
        read(upload.url),
        read(short),
        read(absent),
        read(url, { range: `bytes=${bytes.length}-` }),
      ];
      for (const { status } of await Promise.all(refusals)) {
        expect(status).toBeGreaterThanOrEqual(400);
        expect(status).toBeLessThan(500);
      }
      // What reads does not write.
      const put = await fetch(url, { method: 'PUT', body: 'x' });
      await put.arrayBuffer();
      expect(put.status).toBeGreaterThanOrEqual(400);
      expect(await store().head(key)).toEqual({ size: bytes.length, sha256: sha(bytes) });
    });
  });

  describe('presigned uploads', () => {
    const body = Buffer.from('exactly these bytes');
    const presign = async (key: string, expiresInS = 60) =>
      store().presignPut(key, {
        size: body.length,
        sha256: sha(body),
        contentType: 'application/octet-stream',
        expiresInS,
      });
    const send = async (
      upload: { url: string; headers: Record<string, string> },
      bytes: Uint8Array,
      headers = upload.headers,
    ) => {
      const answer = await fetch(upload.url, { method: 'PUT', headers, body: bytes });
      await answer.arrayBuffer();
      return answer.status;
    };

    it('takes the signed body', async () => {
      const key = `${unique()}/up`;
      expect(await send(await presign(key), body)).toBe(200);
      expect(await store().head(key)).toEqual({ size: body.length, sha256: sha(body) });
    });

    it('refuses any other body, type, key, signature and time, and leaves nothing', async () => {
      const key = `${unique()}/up`;
      const upload = await presign(key);
      const other = Buffer.from(body);
      other[0] = 0x45;
      const tampered = upload.url.replace(/([?&](?:X-Amz-S|s)ignature=)(.)/, (_, name, first) =>
        [name, first === 'a' ? 'b' : 'a'].join(''),
      );
      expect(tampered).not.toBe(upload.url);
      const refusals = [
        send(upload, Buffer.concat([body, Buffer.from('!')])),
        send(upload, body.subarray(1)),
        send(upload, other),
        send(upload, body, { ...upload.headers, 'content-type': 'text/html' }),
        send({ ...upload, url: upload.url.replace('/up?', '/op?') }, body),
        send({ ...upload, url: tampered }, body),
        (async () => {
          const short = await presign(key, 1);
          await new Promise((resolve) => setTimeout(resolve, 2100));
          return send(short, body);
        })(),
      ];
      for (const status of await Promise.all(refusals)) {
        expect(status).toBeGreaterThanOrEqual(400);
        expect(status).toBeLessThan(500);
      }
      expect(await store().head(key)).toBeNull();
      expect(await store().head(key.replace(/up$/, 'op'))).toBeNull();
    });
  });

  describe('multipart uploads', () => {
    const contentType = 'application/octet-stream';
    /** Parts as S3 has them at least, the last one smaller. */
    const bodies = [5 * 2 ** 20, 5 * 2 ** 20, 1_234].map((size, n) => Buffer.alloc(size, n + 65));
    const whole = Buffer.concat(bodies);
    // A server that refuses a large body may close the connection before it answers.
    const small = [Buffer.alloc(2_000, 65), Buffer.alloc(3_000, 66)] as const;
    const presign = async (key: string, uploadId: string, number: number, body: Buffer) =>
      store().presignPart(key, {
        uploadId,
        number,
        size: body.length,
        sha256: sha(body),
        expiresInS: 60,
      });
    const send = async (
      { url, headers }: { url: string; headers: Record<string, string> },
      body: Uint8Array,
    ) => {
      const answer = await fetch(url, { method: 'PUT', headers, body });
      await answer.arrayBuffer();
      return answer.status;
    };
    const sendPart = async (key: string, uploadId: string, number: number, body: Buffer) =>
      send(await presign(key, uploadId, number, body), body);
    const listed = async (key: string, uploadId: string) => {
      const parts = await store().listParts(key, uploadId);
      if (parts === null) throw new Error('the upload is not open');
      return parts;
    };
    const openBelow = async (prefix: string) => {
      const found: string[] = [];
      for await (const { uploadId } of store().listMultiparts(prefix)) found.push(uploadId);
      return found;
    };
    const refused = (status: number) => status >= 400 && status < 500;

    it('join their parts by number, whatever the order they came in', async () => {
      const key = `${unique()}/large`;
      const uploadId = await store().createMultipart(key, { contentType });
      expect(await listed(key, uploadId)).toEqual([]);
      for (const number of [3, 1, 2]) {
        expect(await sendPart(key, uploadId, number, bodies[number - 1] ?? whole)).toBe(200);
      }
      expect(await store().head(key)).toBeNull();
      expect(await openBelow(key)).toEqual([uploadId]);
      const parts = await listed(key, uploadId);
      expect(parts).toMatchObject(
        bodies.map((body, n) => ({ number: n + 1, size: body.length, sha256: sha(body) })),
      );
      await store().completeMultipart(key, uploadId, parts);
      expect((await store().get(key)).length).toBe(whole.length);
      expect(sha(await store().get(key))).toBe(sha(whole));
      const head = await store().head(key);
      expect(head?.size).toBe(whole.length);
      expect(head?.sha256 ?? sha(whole)).toBe(sha(whole));
      expect(await store().listParts(key, uploadId)).toBeNull();
      expect(await openBelow(key)).toEqual([]);
    });

    it('take a part again, and the signed body only', async () => {
      const key = `${unique()}/large`;
      const uploadId = await store().createMultipart(key, { contentType });
      const [first, second] = small;
      const upload = await presign(key, uploadId, 1, first);
      const other = Buffer.from(first);
      other[0] = 0;
      expect(upload.url).toContain('/large?');
      const refusals = [
        await send(upload, other),
        await send(upload, first.subarray(1)),
        await send(upload, Buffer.concat([first, Buffer.from('!')])),
        await send({ ...upload, url: upload.url.replace(/([?&]part(?:Number)?=)1/, '$12') }, first),
        await send({ ...upload, url: upload.url.replace('/large?', '/larger?') }, first),
        await send(
          { ...upload, url: upload.url.replace(/[?&]x-id=UploadPart|&part=1/, '') },
          first,
        ),
      ];
      expect(refusals.filter(refused)).toHaveLength(refusals.length);
      expect(await listed(key, uploadId)).toEqual([]);
      expect(await send(upload, first)).toBe(200);
      expect(await sendPart(key, uploadId, 1, second)).toBe(200);
      expect(await listed(key, uploadId)).toMatchObject([{ number: 1, sha256: sha(second) }]);
      await store().abortMultipart(key, uploadId);
    });

    it('refuse parts that are not in order, not there or no longer what was listed', async () => {
      const key = `${unique()}/large`;
      const uploadId = await store().createMultipart(key, { contentType });
      const [first = whole, second = whole] = bodies;
      for (const [n, body] of [first, second].entries()) {
        expect(await sendPart(key, uploadId, n + 1, body)).toBe(200);
      }
      const [one, two] = await listed(key, uploadId);
      if (one === undefined || two === undefined) throw new Error('two parts were sent');
      const complete = (parts: (typeof one)[]) => store().completeMultipart(key, uploadId, parts);
      const invalid = code('invalid_request');
      await expect(complete([two, one])).rejects.toEqual(invalid);
      await expect(complete([one, one])).rejects.toEqual(invalid);
      await expect(complete([])).rejects.toEqual(invalid);
      await expect(complete([one, { ...two, number: 3 }])).rejects.toEqual(invalid);
      expect(await sendPart(key, uploadId, 2, first)).toBe(200);
      await expect(complete([one, two])).rejects.toEqual(invalid);
      expect(await store().head(key)).toBeNull();
      await store().completeMultipart(key, uploadId, await listed(key, uploadId));
      expect(sha(await store().get(key))).toBe(sha(Buffer.concat([first, first])));
    });

    it('take nothing any more once they are completed', async () => {
      const key = `${unique()}/large`;
      const uploadId = await store().createMultipart(key, { contentType });
      const [first, second] = small;
      const upload = await presign(key, uploadId, 1, first);
      expect(await send(upload, first)).toBe(200);
      const parts = await listed(key, uploadId);
      const replacing = await presign(key, uploadId, 1, second);
      await store().completeMultipart(key, uploadId, parts);
      expect(refused(await send(upload, first))).toBe(true);
      expect(refused(await send(replacing, second))).toBe(true);
      // Again is a success to some, as it is to S3 itself.
      await store()
        .completeMultipart(key, uploadId, parts)
        .catch((error: unknown) => expect(error).toEqual(code('not_found')));
      await store().abortMultipart(key, uploadId);
      expect(sha(await store().get(key))).toBe(sha(first));
    });

    it('are dropped by an abort, and with all that lies below a prefix', async () => {
      const base = unique();
      const begin = (name: string) => store().createMultipart(`${base}/${name}`, { contentType });
      const [a, b, c] = [await begin('a/1'), await begin('a/2'), await begin('b')];
      const body = Buffer.from('the last part may be small');
      const upload = await presign(`${base}/a/1`, a, 1, body);
      expect(await send(upload, body)).toBe(200);
      expect((await openBelow(`${base}/`)).sort()).toEqual([a, b, c].sort());
      await store().abortMultipart(`${base}/b`, c);
      await store().abortMultipart(`${base}/b`, c);
      expect(await store().deletePrefix(`${base}/a/`)).toBe(0);
      expect(await openBelow(`${base}/`)).toEqual([]);
      expect(await store().listParts(`${base}/a/1`, a)).toBeNull();
      expect(refused(await send(upload, body))).toBe(true);
      expect(await store().head(`${base}/a/1`)).toBeNull();
    });

    it('are of one key each', async () => {
      const [key, other] = [`${unique()}/a`, `${unique()}/b`];
      const uploadId = await store().createMultipart(key, { contentType });
      const body = Buffer.from('body');
      expect(refused(await sendPart(other, uploadId, 1, body))).toBe(true);
      expect(await store().listParts(other, uploadId)).toBeNull();
      await store().abortMultipart(other, uploadId);
      expect(await listed(key, uploadId)).toEqual([]);
      await store().abortMultipart(key, uploadId);
    });
  });
}

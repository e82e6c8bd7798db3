import { appendEvents, finetunes, eq, withTenant } from '@armature/db';
import { problemSchema } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, startTestApi, type TestApi } from '../../test/support/api.ts';
import { armSpec, fileOf } from '../../test/support/robots.ts';
import { markReady, passFinetune } from '../../test/support/rows.ts';

let api: TestApi;
let tenant: string;
let key: string;
let finetune: string;

beforeAll(async () => {
  api = await startTestApi({ requestBatch: 1 });
  ({ id: tenant, key } = await api.tenant());
  const embodiment = await api.must('embodiments.create', key, { spec: armSpec });
  const { dataset } = await api.must('datasets.create', key, {
    name: 'd',
    embodiment_id: embodiment.id,
    files: [fileOf('a', Buffer.from('a'))],
  });
  await markReady(api.db.worker, tenant, dataset.id);
  const input = { name: 'f', dataset_id: dataset.id, options: {} };
  ({ id: finetune } = await api.must('finetunes.create', key, input));
});
afterAll(async () => api.stop());

interface Message {
  id?: string;
  event?: string;
  data?: string;
}

/** Opens the stream; `next` reads one message, comments apart. */
async function open(apiKey: string, headers: Record<string, string> = {}, id = finetune) {
  const controller = new AbortController();
  const answer = await fetch(`${api.url}/v1/finetunes/${id}/stream`, {
    headers: { authorization: `Bearer ${apiKey}`, ...headers },
    signal: controller.signal,
  });
  let text = '';
  const pieces = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  const next = async (): Promise<Message | null> => {
    for (;;) {
      const end = text.indexOf('\n\n');
      if (end >= 0) {
        const block = text.slice(0, end);
        text = text.slice(end + 2);
        if (block.startsWith(':')) continue;
        return Object.fromEntries(
          block
            .split('\n')
            .map((line) => [line.split(': ')[0], line.slice(line.indexOf(': ') + 2)]),
        ) as Message;
      }
      const piece = await pieces?.read();
      if (piece?.value === undefined) return null;
      text += piece.value;
    }
  };
  return { answer, next, close: () => controller.abort() };
}
const note = (message: string) =>
  withTenant(api.db.worker, tenant, (tx) =>
    appendEvents(tx, finetune, [{ kind: 'metrics', message, data: { loss: 1 } }]),
  );

describe('the stream of a fine-tune', () => {
  it('tells what was and what comes, goes on where it broke off, and ends', async () => {
    await note('step 1');
    const first = await open(key);
    expect(first.answer.headers.get('content-type')).toMatch(/^text\/event-stream/);
    expect(await first.next()).toMatchObject({ id: '1', event: 'status' });
    expect(await first.next()).toMatchObject({ id: '2', event: 'metrics' });
    await note('step 2');
    const third = await first.next();
    expect(third).toMatchObject({ id: '3', event: 'metrics' });
    expect(JSON.parse(third?.data ?? '')).toMatchObject({ message: 'step 2', data: { loss: 1 } });
    first.close();

    const again = await open(key, { 'last-event-id': '2' });
    expect(await again.next()).toMatchObject({ id: '3' });
    await passFinetune(api.db.worker, tenant, finetune, 'running');
    await withTenant(api.db.worker, tenant, async (tx) => {
      const error = { code: 'invalid_dataset', message: 'm', field: 'dataset_id', fix: 'f' };
      const ended = { status: 'user_error', error };
      await tx.update(finetunes).set(ended).where(eq(finetunes.id, finetune));
      await appendEvents(tx, finetune, [{ kind: 'status', message: 'user_error' }]);
    });
    expect(await again.next()).toMatchObject({ id: '4', event: 'status' });
    const end = await again.next();
    expect(end?.event).toBe('end');
    expect(JSON.parse(end?.data ?? '')).toMatchObject({ id: finetune, status: 'user_error' });
    expect(await again.next()).toBeNull();
  });

  it('is refused as any other verb', async () => {
    const other = await api.tenant('other');
    const robot = await api.keyWith(key, ['robot']);
    for (const [apiKey, status, id] of [
      ['nonsense', 401, finetune],
      [robot.key, 403, finetune],
      [other.key, 404, finetune],
      [key, 404, 'ft_none'],
    ] as const) {
      const { answer } = await open(apiKey, {}, id);
      expect(answer.status).toBe(status);
    }
    const answer = await fetch(`${api.url}/v1/finetunes/${finetune}/stream`, {
      headers: { authorization: `Bearer ${key}`, 'last-event-id': 'x' },
    });
    expect(problemSchema.parse(await answer.json())).toMatchObject({ field: 'last-event-id' });
  });

  it('breaks off when the key ends', async () => {
    await passFinetune(api.db.worker, tenant, finetune, 'queued', 'running');
    const doomed = await api.keyWith(key, ['read']);
    const stream = await open(doomed.key, { 'last-event-id': '4' });
    await api.must('keys.revoke', key, { id: doomed.id });
    api.othersLearn();
    const last = await stream.next();
    expect(last?.event).toBe('problem');
    expect(problemSchema.parse(JSON.parse(last?.data ?? ''))).toMatchObject({
      code: 'invalid_key',
      type: `${api.publicUrl}/errors/invalid_key`,
    });
    expect(await stream.next()).toBeNull();
  });

  it('is one request, however long it lasts', async () => {
    const limit = (name: 'requests_burst' | 'requests_per_s', value: number | null) =>
      api.must('tenants.limit', PLATFORM_KEY, { id: tenant, name, value });
    const reader = await api.keyWith(key, ['read']);
    await limit('requests_per_s', 0.001);
    // Of which a key has half.
    await limit('requests_burst', 4);
    const stream = await open(reader.key);
    expect(await stream.next()).toMatchObject({ id: '1' });
    await note('late');
    for (let last: Message | null = null; last?.data?.includes('"late"') !== true;) {
      last = await stream.next();
      expect(last?.event).not.toBe('problem');
      expect(last).not.toBeNull();
    }
    stream.close();
    const ask = async () => (await api.call('tenants.current', reader.key, {})).status;
    expect([await ask(), await ask()]).toEqual([200, 429]);
    await limit('requests_burst', null);
    await limit('requests_per_s', null);
  });
});

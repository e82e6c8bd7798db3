import { afterEach, describe, expect, it } from 'vitest';
import { ArmatureError, type Finetune } from '../../contract/index.ts';
import { Armature } from '../client.ts';
import { FakeApi } from '../testing/fake-api.ts';
import { event, finetune } from '../testing/resources.ts';
import { waitForFinetune } from './wait-for-finetune.ts';

const apis: FakeApi[] = [];
afterEach(async () => {
  for (const api of apis.splice(0)) await api.stop();
});

/** A job whose n-th look gives the n-th state, with two more events each time. */
async function start(states: Partial<Finetune>[]): Promise<Armature> {
  let look = 0;
  const api = await FakeApi.start({
    'finetunes.get': () => finetune(states[Math.min(look++, states.length - 1)]),
    'finetunes.events': ({ after }) => ({
      items: Array.from({ length: look * 2 }, (_, i) => event(i + 1)).filter(
        ({ seq }) => seq > Number(after),
      ),
    }),
  });
  apis.push(api);
  return new Armature({ apiUrl: api.url, apiKey: 'k', retry: { attempts: 1 } });
}

describe('waitForFinetune', () => {
  it('gives every event once, in order, up to the last', async () => {
    const client = await start([{ status: 'queued' }, { status: 'running' }, {}]);
    const seqs: number[] = [];
    const updates: string[] = [];
    const done = await waitForFinetune({
      client,
      id: 'ft_1',
      pollMs: 1,
      onEvent: ({ seq }) => seqs.push(seq),
      onUpdate: ({ status }) => updates.push(status),
    });
    expect(done.policy_version_id).toBe('pv_1');
    expect(seqs).toEqual([1, 2, 3, 4, 5, 6]);
    expect(updates).toEqual(['queued', 'running', 'succeeded']);
  });

  it('throws the error of a job that failed, and says when it was cancelled', async () => {
    const error = {
      code: 'invalid_action' as const,
      message: 'a NaN',
      field: 'action',
      fix: 'Fix it.',
    };
    const failed = await start([{ status: 'failed', error }]);
    await expect(waitForFinetune({ client: failed, id: 'ft_1' })).rejects.toMatchObject({
      code: 'invalid_action',
      field: 'action',
      fix: 'Fix it.',
    });
    const ended = await start([{ status: 'cancelled' }]);
    await expect(waitForFinetune({ client: ended, id: 'ft_1' })).rejects.toMatchObject({
      code: 'cancelled',
    });
  });

  it('ends with its signal', async () => {
    const client = await start([{ status: 'running' }]);
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 30);
    const waiting = waitForFinetune({ client, id: 'ft_1', signal: stop.signal });
    await expect(waiting).rejects.toBeInstanceOf(ArmatureError);
  });
});

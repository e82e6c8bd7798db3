import type { IncomingMessage } from 'node:http';
import { ArmatureError } from '@armature/sdk/contract';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi } from '../../../../sdk/src/testing/fake-api.ts';
import { sessionOf } from '../../testing/grant.ts';
import { claimsFor } from '../../testing/robots.ts';
import { OpenpiAccess } from './access.ts';

/** What happens to a request once it was carried out. */
type Answering = (request: IncomingMessage) => unknown;

let api: FakeApi;
let access: OpenpiAccess;
/** Sessions by the key that makes each only once, and those that were ended. */
let made: Map<unknown, string>;
let ended: unknown[];
/** What becomes of the next answers, by verb. */
let spoilt: { create: Answering[]; end: Answering[] };
let warnings: unknown[];

const lost: Answering = ({ socket }) => socket.destroy();
const late: Answering = () => new Promise(() => undefined);
const failed: Answering = () => Promise.reject(new Error('after the commit'));
const refused =
  (error: ArmatureError): Answering =>
  () =>
    Promise.reject(error);
const underWay = refused(
  new ArmatureError('conflict', 'a request with this key is being carried out', {
    field: 'idempotency-key',
    retryAfterS: 1,
  }),
);

function grant(id: string) {
  const claims = claimsFor({ sub: id });
  return {
    session: sessionOf(claims),
    url: 'ws://elsewhere',
    announce_url: 'http://elsewhere',
    token: 'a.b.c',
    token_expires_at: new Date().toISOString(),
    embodiment: claims.embodiment.spec,
  };
}

beforeAll(async () => {
  api = await FakeApi.start({
    'sessions.create': (_, request) => {
      const once = request.headers['idempotency-key'] ?? made.size;
      const id = made.get(once) ?? `ses_${made.size}`;
      made.set(once, id);
      return spoilt.create.shift()?.(request) ?? grant(id);
    },
    'sessions.end': ({ id }, request) => {
      const spoil = spoilt.end.shift();
      if (spoil !== undefined) return spoil(request);
      ended.push(id);
      return grant(String(id)).session;
    },
  });
});
afterAll(() => api.stop());
beforeEach(() => {
  [made, ended, warnings] = [new Map(), [], []];
  spoilt = { create: [], end: [] };
  access = accessTo(api.url);
});

function accessTo(apiUrl: string, verifies = true): OpenpiAccess {
  return new OpenpiAccess({
    worker: 'serve-1',
    apiUrl,
    embodimentId: 'emb_1',
    defaultKey: 'arm_key',
    verify: async () => {
      if (!verifies) throw new ArmatureError('invalid_token', 'the keys changed');
      return { claims: claimsFor({ sub: [...made.values()].at(-1) ?? '' }), expiresAt: 0 };
    },
    log: { warn: (about) => warnings.push(about) },
    answerWithinMs: 300,
    againMs: [10, 20, 40, 80],
  });
}

const until = (what: () => unknown) => expect.poll(what, { timeout: 20_000, interval: 5 });

describe('the session of an openpi client', () => {
  it.each([
    ['lost', lost, []],
    ['lost, and ending it fails at first', lost, [lost, failed]],
    ['too late', late, [underWay]],
    ['no more than a failure', failed, []],
  ])('is ended when what came of its making is %s', async (_, spoil, endings) => {
    spoilt = { create: [spoil, underWay], end: endings };
    await expect(access.open(undefined, '/')).rejects.toMatchObject({ code: 'unavailable' });
    await until(() => ended).toEqual(['ses_0']);
    expect([...made.values()]).toEqual(['ses_0']);
    expect(warnings).toEqual([]);
  });

  it('is ended once its client has gone, however long the control plane is away', async () => {
    const { end } = await access.open(undefined, '/');
    expect(ended).toEqual([]);
    spoilt.end = [lost, late, failed];
    end?.();
    await until(() => ended).toEqual(['ses_0']);
  });

  it('is ended when its token is not taken', async () => {
    const opened = accessTo(api.url, false).open(undefined, '/');
    await expect(opened).rejects.toMatchObject({ code: 'invalid_token' });
    await until(() => ended).toEqual(['ses_0']);
  });

  it('is none where its making was refused, or nobody was there to be asked', async () => {
    const full = new ArmatureError('quota_exceeded', 'too many robots');
    spoilt.create = [refused(full)];
    await expect(access.open(undefined, '/')).rejects.toMatchObject({ code: 'quota_exceeded' });
    const gone = await FakeApi.start({});
    const { url } = gone;
    await gone.stop();
    const nobody = accessTo(url).open(undefined, '/');
    await expect(nobody).rejects.toMatchObject({ code: 'unavailable' });
    const asked = api.calls.length;
    // Longer than all the waits before a question is asked again.
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(api.calls).toHaveLength(asked);
    expect([ended, warnings]).toEqual([[], []]);
  });

  it('that cannot be ended is told in the log', async () => {
    const { end } = await access.open(undefined, '/');
    spoilt.end = Array.from({ length: 5 }, () => failed);
    end?.();
    await until(() => warnings).toEqual([expect.objectContaining({ session: 'ses_0' })]);
  });
});

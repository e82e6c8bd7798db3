import {
  ArmatureError,
  decodeFrame,
  encodeFrame,
  Ndarray,
  type SessionClaims,
} from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { FakeApi } from '../../../../sdk/src/testing/fake-api.ts';
import { silent } from '../../ledger/testing/entries.ts';
import { tokenVerifier } from '../session-token.ts';
import { sessionOf } from '../../testing/grant.ts';
import { observation, jpegOf, TEST_WORKER, TestRobot } from '../../testing/robots.ts';
import { startWorker, type TestWorker } from '../../testing/worker.ts';
import { OpenpiAccess } from './access.ts';

let worker: TestWorker;
let api: FakeApi;
let sessions = 0;
let epoch = 0;
/** Life of the tokens that the control plane hands out, s. */
let lifetime = 600;
const open: WebSocket[] = [];
const KEY = 'arm_key';

beforeAll(async () => {
  api = await FakeApi.start({});
  worker = await startWorker({
    openpi: (issuer) =>
      new OpenpiAccess({
        worker: TEST_WORKER,
        apiUrl: api.url,
        embodimentId: undefined,
        defaultKey: undefined,
        verify: tokenVerifier(issuer.jwksUrl),
        log: silent,
      }),
  });
  const grant = async () => {
    const claims = worker.claims({ sub: `ses_pi${sessions}`, epoch: ++epoch });
    return {
      session: sessionOf(claims),
      url: 'ws://elsewhere',
      announce_url: 'http://elsewhere',
      token: await worker.issuer.sign(claims, { expiresIn: lifetime }),
      token_expires_at: new Date(Date.now() + lifetime * 1000).toISOString(),
      embodiment: claims.embodiment.spec,
    };
  };
  api.handlers = {
    'sessions.create': (_, request) => {
      if (request.headers.authorization !== `Bearer ${KEY}`) {
        throw new ArmatureError('invalid_key', 'this key is not known');
      }
      sessions += 1;
      return grant();
    },
    'sessions.resume': grant,
    'sessions.end': async () => (await grant()).session,
    'embodiments.list': () => ({
      items: ['emb_1', null].map((id) => ({
        id: id ?? 'emb_2',
        spec: worker.claims().embodiment.spec,
        active_policy_version_id: id === null ? null : 'pv_1',
        canary: null,
        created_at: new Date().toISOString(),
      })),
      next_cursor: null,
    }),
  };
});
afterAll(async () => {
  for (const socket of open) socket.terminate();
  await worker.stop();
  await api.stop();
});

/** Speaks as openpi-client does: no subprotocol, one message at a time. */
class Client {
  readonly messages: (Uint8Array | string)[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    open.push(socket);
    socket.on('message', (data: Buffer, isBinary) =>
      this.messages.push(isBinary ? new Uint8Array(data) : data.toString()),
    );
    this.closed = new Promise((resolve) =>
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() })),
    );
  }

  static connect(key: string | undefined, path = '/'): Promise<Client> {
    const headers = key === undefined ? {} : { authorization: `Api-Key ${key}` };
    const socket = new WebSocket(`ws://127.0.0.1:${worker.port}${path}`, {
      headers,
      perMessageDeflate: false,
    });
    const client = new Client(socket);
    return new Promise((resolve, reject) => {
      socket.on('open', () => resolve(client));
      socket.on('unexpected-response', (_, response) => {
        response.resume();
        reject(new Error(`HTTP ${response.statusCode ?? 0}`));
        socket.terminate();
      });
      socket.on('error', reject);
    });
  }

  async recv(): Promise<Uint8Array | string> {
    await expect.poll(() => this.messages.length, { timeout: 20_000, interval: 2 }).not.toBe(0);
    return this.messages.shift() ?? '';
  }

  async read(): Promise<Record<string, unknown>> {
    const data = await this.recv();
    if (typeof data === 'string') throw new Error(data);
    return decodeFrame(data) as Record<string, unknown>;
  }

  send(message: unknown): void {
    this.socket.send(encodeFrame(message));
  }
}

const seen = {
  'observation/front': Ndarray.uint8(new Uint8Array(48 * 64 * 3).fill(9), [48, 64, 3]),
  'observation/state': Ndarray.float32(Float32Array.of(0.5, 0)),
  prompt: 'lift the cup',
};
const token = async (over: Partial<SessionClaims> = {}) =>
  worker.issuer.sign(worker.claims({ sub: `ses_pi_t${++sessions}`, epoch: 1, ...over }));

describe('the openpi dialect', () => {
  it('speaks first when the policy is ready, then replies to every request, at any path', async () => {
    const client = await Client.connect(await token(), '/some/path?x=1');
    expect(client.socket.protocol).toBe('');
    expect(await client.read()).toMatchObject({
      policy_version: 'pv_one',
      action_names: ['shoulder', 'elbow'],
      action_units: ['rad', 'rad'],
      observation: { 'observation/front': { dtype: 'uint8', shape: [48, 64, 3] } },
    });
    for (let request = 0; request < 3; request++) {
      client.send(seen);
      const reply = await client.read();
      expect(Object.keys(reply)).toEqual(['actions', 'policy_timing', 'server_timing']);
      const actions = reply['actions'];
      if (!(actions instanceof Ndarray)) throw new Error('no array');
      expect([actions.dtype, actions.shape]).toEqual(['<f8', [8, 2]]);
      expect(Object.keys(reply['server_timing'] as object)).toEqual(
        request === 0 ? ['infer_ms'] : ['infer_ms', 'prev_total_ms'],
      );
    }
    expect(worker.runtime.runs.at(-1)?.rows[0]).toMatchObject({ instruction: 'lift the cup' });
  });

  it('says nothing while the policy is being loaded, then the metadata, then what was asked ahead', async () => {
    const { runtime } = worker;
    let load = (): void => undefined;
    runtime.onLoad = () => new Promise((resolve) => (load = resolve));
    const { loads } = runtime;
    const claims = worker.claims({ sub: `ses_pi_t${++sessions}`, epoch: 1 }, 'held back');
    const client = await Client.connect(await worker.issuer.sign(claims));
    client.send(seen);
    await expect.poll(() => runtime.loads, { timeout: 20_000 }).toBe(loads + 1);
    // The socket is alive all the while.
    for (let i = 0; i < 3; i++) {
      const pong = new Promise((resolve) => client.socket.once('pong', resolve));
      client.socket.ping();
      await pong;
    }
    expect(client.messages).toEqual([]);
    runtime.onLoad = () => Promise.resolve();
    load();
    expect(await client.read()).toMatchObject({ policy_version: 'pv_held back' });
    expect(Object.keys(await client.read())).toContain('actions');
  });

  it('answers requests that are sent ahead in their order', async () => {
    const client = await Client.connect(await token());
    await client.read();
    for (let i = 0; i < 4; i++) {
      client.send({ ...seen, 'observation/state': Ndarray.float32(Float32Array.of(i, 0)) });
    }
    const firsts: number[] = [];
    for (let i = 0; i < 4; i++) {
      const { actions } = await client.read();
      firsts.push(Math.trunc((actions as Ndarray).toFloat32()[0] ?? NaN));
    }
    expect(firsts).toEqual([0, 1, 2, 3]);
  });

  it.each<[string, unknown, RegExp]>([
    [
      'no picture',
      { ...seen, 'observation/front': undefined },
      /^missing_camera: .*observation\/front/,
    ],
    [
      'another state',
      { ...seen, 'observation/state': Ndarray.float32(new Float32Array(3)) },
      /^invalid_state: /,
    ],
    ['no map', [1, 2], /^invalid_observation: /],
    ['a prompt that is none', { ...seen, prompt: 5 }, /^invalid_observation: prompt/],
  ])(
    'says what is wrong with %s in text, without a trace, and closes',
    async (_, message, text) => {
      const client = await Client.connect(await token());
      await client.read();
      client.send(message);
      const said = await client.recv();
      expect(said).toMatch(text);
      expect(said).not.toMatch(/\.ts|at \w+ \(|node:/);
      expect((await client.closed).code).toBe(1011);
    },
  );

  it('closes on text and on rubbish, and harms nobody else', async () => {
    const other = await TestRobot.ready(worker.port, await token());
    for (const rubbish of ['text', Buffer.from([0xc1]), Buffer.from([0x81, 0xa1])]) {
      const client = await Client.connect(await token());
      await client.read();
      client.socket.send(rubbish);
      expect(await client.recv()).toMatch(/^invalid_frame: /);
      expect((await client.closed).code).toBe(1011);
    }
    other.send(observation(0, await jpegOf()));
    expect(await other.answer(0)).toMatchObject({ type: 'chunk' });
    other.close();
  });

  it('exchanges an API key for a session, renews it while the socket is open, and ends it', async () => {
    lifetime = 1;
    const client = await Client.connect(KEY);
    await client.read();
    lifetime = 600;
    const made = api.calls.find((call) => call.name === 'sessions.create');
    expect(made?.input).toMatchObject({ embodiment_id: 'emb_1', robot: 'openpi' });
    await expect.poll(() => api.names(), { timeout: 20_000 }).toContain('sessions.resume');
    client.send(seen);
    expect(await client.read()).toHaveProperty('actions');
    client.socket.close();
    await expect.poll(() => api.names(), { timeout: 20_000 }).toContain('sessions.end');
    const named = await Client.connect(KEY, '/openpi/emb_7');
    await named.read();
    expect(api.calls.findLast((call) => call.name === 'sessions.create')?.input).toMatchObject({
      embodiment_id: 'emb_7',
    });
  });

  it('goes on when a renewal fails, tries again, and ends when the token does', async () => {
    lifetime = 1;
    const client = await Client.connect(KEY);
    await client.read();
    let failures = 0;
    const resume = api.handlers['sessions.resume'];
    api.handlers['sessions.resume'] = () => {
      failures += 1;
      throw new ArmatureError('unavailable', 'not now');
    };
    await expect.poll(() => failures, { timeout: 20_000 }).toBeGreaterThan(1);
    client.send(seen);
    expect(await client.read()).toHaveProperty('actions');
    expect(await client.recv()).toMatch(/^unavailable: not now/);
    expect((await client.closed).code).toBe(1011);

    failures = 0;
    const second = await Client.connect(KEY);
    await second.read();
    await expect.poll(() => failures, { timeout: 20_000 }).toBeGreaterThan(0);
    lifetime = 600;
    const renewed = api.names().length;
    if (resume !== undefined) api.handlers['sessions.resume'] = resume;
    await expect
      .poll(() => api.names().slice(renewed), { timeout: 20_000 })
      .toContain('sessions.resume');
    // Longer than the first token was good for.
    await new Promise((resolve) => setTimeout(resolve, 6_500));
    second.send(seen);
    expect(await second.read()).toHaveProperty('actions');
    second.socket.close();
  });

  it('lets nobody in without a key or with a wrong one', async () => {
    await expect(Client.connect(undefined)).rejects.toThrow('HTTP 401');
    await expect(Client.connect('arm_wrong')).rejects.toThrow('HTTP 401');
    await expect(Client.connect('a.b.c')).rejects.toThrow('HTTP 401');
  });
});

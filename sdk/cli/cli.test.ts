import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetReadObjects } from 'hyparquet';
import { afterEach, beforeAll, describe, expect, it, afterAll } from 'vitest';
import { ArmatureError, type DatasetFile } from '../contract/index.ts';
import { FakeApi, type Handlers } from '../src/testing/fake-api.ts';
import {
  armSpec,
  dataset,
  embodiment,
  event,
  finetune,
  policyVersion,
  report,
} from '../src/testing/resources.ts';
import { environment } from './config.ts';
import { runCli } from './run-cli.ts';

const bin = join(import.meta.dirname, '../bin/armature.mjs');
const at = '2026-01-02T03:04:05.000Z';
const tenant = { id: 'ten_1', name: 'acme', time_zone: 'UTC', created_at: at };
const key = {
  id: 'key_1',
  name: 'robots',
  start: 'arm_1_ab',
  scopes: ['robot' as const],
  member_id: null,
  limits: {},
  created_at: at,
  expires_at: null,
  last_used_at: null,
  revoked_at: null,
};

let api: FakeApi;
let home: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  api = await FakeApi.start({});
  home = mkdtempSync(join(tmpdir(), 'cli-'));
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  api.calls.length = 0;
  api.extra = undefined;
});
afterAll(async () => {
  await api.stop();
  rmSync(home, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Starts the command as a process of its own, with nothing of this machine's configuration. */
function start(args: string[], env: Record<string, string> = {}, input = ''): Started {
  const child = spawn(process.execPath, [bin, ...args], {
    cwd: home,
    env: {
      PATH: process.env['PATH'],
      HOME: home,
      ARMATURE_API_URL: api.url,
      ARMATURE_API_KEY: 'arm_1_secret',
      ...env,
    },
  });
  children.push(child);
  child.stdin.end(input);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  const ended = new Promise<Ended>((resolve) =>
    child.on('close', (code) => resolve({ code, stdout, stderr })),
  );
  return { child, ended };
}

/** The command as a process of its own. */
async function armatureProcess(
  handlers: Handlers,
  args: string[],
  env: Record<string, string> = {},
  input = '',
): Promise<Ended> {
  api.handlers = handlers;
  return start(args, env, input).ended;
}

/** The same command in this process, which is all the same but for the start and cheaper. */
async function armature(
  handlers: Handlers,
  argv: string[],
  env: Record<string, string> = {},
): Promise<Ended> {
  api.handlers = handlers;
  let stdout = '';
  let stderr = '';
  const code = await runCli({
    argv,
    out: (text) => (stdout += text),
    err: (text) => (stderr += text),
    interactive: false,
    interrupted: () => null,
    env: environment({
      HOME: home,
      ARMATURE_API_URL: api.url,
      ARMATURE_API_KEY: 'arm_1_secret',
      ...env,
    }),
    cwd: home,
    signal: new AbortController().signal,
    onInterrupt: () => () => undefined,
    ask: () => Promise.resolve(''),
    readInput: () => Promise.resolve(''),
  });
  return { code, stdout, stderr };
}

describe('usage and errors', () => {
  it('explains itself', async () => {
    const help = await armatureProcess({}, ['--help']);
    expect(help.code).toBe(0);
    for (const word of ['login', 'embodiments', 'datasets', 'finetune', 'policies', 'sessions']) {
      expect(help.stdout).toContain(word);
    }
    const push = await armature({}, ['datasets', 'push', '--help']);
    expect(push.stdout).toContain('--embodiment <id>');
  });

  it('exits with 2 where the command is wrong, and says how it goes', async () => {
    const unknown = await armatureProcess({}, ['datasets', 'shove']);
    expect([unknown.code, unknown.stdout]).toEqual([2, '']);
    expect(unknown.stderr).toContain("unknown command 'shove'");
    const missing = await armature({}, ['datasets', 'push', 'x']);
    expect([missing.code, missing.stdout]).toEqual([2, '']);
    const number = await armature({}, ['datasets', 'list', '--limit', 'many']);
    expect(number.stderr).toContain('whole number');
    expect(api.calls).toEqual([]);
  });

  it('exits with 1 and prints code, field and fix', async () => {
    const handlers: Handlers = {
      'datasets.get': () => {
        throw new ArmatureError('not_found', 'there is no data set ds_9', {
          field: 'id',
          fix: 'List the data sets.',
        });
      },
    };
    const plain = await armatureProcess(handlers, ['datasets', 'get', 'ds_9']);
    expect([plain.code, plain.stdout]).toEqual([1, '']);
    expect(plain.stderr).toBe(
      'error: there is no data set ds_9\n  code   not_found\n  field  id\n  fix    List the data sets.\n  request  req_1\n',
    );
    const json = await armature(handlers, ['datasets', 'get', 'ds_9', '--json']);
    expect([json.code, json.stdout]).toEqual([1, '']);
    expect(JSON.parse(json.stderr)).toEqual({
      error: {
        code: 'not_found',
        message: 'there is no data set ds_9',
        field: 'id',
        fix: 'List the data sets.',
        request_id: 'req_1',
      },
    });
  });

  it('says what to do without an address, and with nothing listening', async () => {
    const nowhere = await armature({}, ['usage'], { ARMATURE_API_URL: '', ARMATURE_API_KEY: '' });
    expect(nowhere.code).toBe(1);
    expect(nowhere.stderr).toContain('armature login');
    const closed = await armature({}, ['usage'], { ARMATURE_API_URL: 'http://127.0.0.1:9' });
    expect(closed.code).toBe(1);
    expect(closed.stderr).toContain('unavailable');
  });
});

describe('access', () => {
  it('logs in, keeps the key to itself, and uses it afterwards', async () => {
    const env = { ARMATURE_API_KEY: '', ARMATURE_API_URL: '', XDG_CONFIG_HOME: join(home, 'cfg') };
    const handlers: Handlers = { 'tenants.current': () => tenant };
    const login = await armatureProcess(
      handlers,
      ['login', '--api-url', api.url],
      env,
      'arm_1_piped\n',
    );
    expect([login.code, login.stderr]).toEqual([0, '']);
    expect(login.stdout).toContain('acme');
    expect(login.stdout).not.toContain('arm_1_piped');
    const path = join(home, 'cfg', 'armature', 'config.json');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({
      apiUrl: api.url,
      apiKey: 'arm_1_piped',
    });
    await armatureProcess(handlers, ['tenants', 'current'], env);
    expect(api.calls.at(-1)?.authorization).toBe('Bearer arm_1_piped');
    const elsewhere = await armature(
      {},
      ['tenants', 'current', '--api-url', 'http://127.0.0.1:9'],
      env,
    );
    expect(elsewhere.stderr).toContain('missing_key');
  });

  it('stores nothing when the key is refused', async () => {
    const env = { XDG_CONFIG_HOME: join(home, 'none') };
    const handlers: Handlers = {
      'tenants.current': () => {
        throw new ArmatureError('invalid_key', 'the key is not valid');
      },
    };
    const login = await armature(handlers, ['login', '--api-url', api.url], env);
    expect(login.code).toBe(1);
    expect(() => statSync(join(home, 'none'))).toThrow();
  });

  it('finds a platform that was started in this folder', async () => {
    mkdirSync(join(home, '.armature'), { recursive: true });
    const dev = { apiUrl: api.url, gatewayUrl: 'ws://127.0.0.1:9', apiKey: 'arm_1_dev' };
    writeFileSync(join(home, '.armature', 'dev.json'), JSON.stringify(dev));
    const env = { ARMATURE_API_URL: '', ARMATURE_API_KEY: '' };
    await armatureProcess({ 'tenants.current': () => tenant }, ['tenants', 'current'], env);
    expect(api.calls[0]?.authorization).toBe('Bearer arm_1_dev');
    rmSync(join(home, '.armature'), { recursive: true });
  });

  it('creates tenants with the platform key, and keys', async () => {
    const made = { tenant, key, secret: 'arm_1_once' };
    const env = { ARMATURE_PLATFORM_KEY: 'platform' };
    const handlers: Handlers = { 'tenants.create': () => made, 'keys.create': () => made };
    const created = await armature(handlers, ['tenants', 'create', 'acme', '--json'], env);
    expect(JSON.parse(created.stdout)).toEqual(made);
    expect(api.calls[0]?.authorization).toBe('Bearer platform');
    const scoped = await armature(handlers, ['keys', 'create', 'robots', '--scopes', 'robot,read']);
    expect(scoped.stdout).toContain('arm_1_once');
    expect(api.calls[1]?.input).toEqual({ name: 'robots', scopes: ['robot', 'read'], limits: {} });
    expect((await armature({}, ['keys', 'create', 'x', '--scopes', 'god'])).code).toBe(2);
  });

  it('gives keys quotas, rotates them, and grants tenants limits with the platform key', async () => {
    const limited = { ...key, limits: { concurrent_robots: 3, storage_bytes: 1e9 } };
    const made = { key: limited, secret: 'arm_1_once', old: { ...key, expires_at: at } };
    const handlers: Handlers = {
      'keys.create': () => made,
      'keys.limit': () => limited,
      'keys.rotate': () => made,
      'tenants.limit': (input) => input,
    };
    const create = ['keys', 'create', 'robots', '--scopes', 'robot', '--quota'];
    const both = ['concurrent_robots=3', '--quota', 'storage_bytes=1000000000'];
    const created = await armature(handlers, [...create, ...both]);
    expect(created.stdout).toContain('concurrent_robots=3,storage_bytes=1000000000');
    expect(api.calls[0]?.input).toMatchObject({ limits: limited.limits });
    expect((await armature({}, [...create, 'webhooks=3'])).code).toBe(2);
    expect((await armature({}, [...create, 'concurrent_robots=many'])).code).toBe(2);
    await armature(handlers, ['keys', 'quota', 'key_1', 'storage_bytes', 'none']);
    expect(api.calls[1]?.input).toEqual({ id: 'key_1', name: 'storage_bytes', value: null });
    const rotated = await armature(handlers, ['keys', 'rotate', 'key_1', '--overlap', '60']);
    expect(api.calls[2]?.input).toEqual({ id: 'key_1', overlap_s: 60 });
    expect(rotated.stdout).toContain(at);
    const env = { ARMATURE_PLATFORM_KEY: 'platform' };
    const limit = ['tenants', 'limit', 'ten_1', 'webhooks'];
    const granted = await armature(handlers, [...limit, '9', '--json'], env);
    expect(JSON.parse(granted.stdout)).toMatchObject({ name: 'webhooks', value: 9 });
    expect(api.calls[3]?.authorization).toBe('Bearer platform');
    await armature(handlers, [...limit, 'default'], env);
    expect(api.calls[4]?.input).toMatchObject({ value: null });
    expect((await armature(handlers, [...limit, 'few'], env)).code).toBe(2);
  });
});

describe('people', () => {
  const member = {
    id: 'mem_1',
    email: 'ann@x.io',
    role: 'viewer',
    created_at: at,
    removed_at: null,
    person_id: null,
  };
  const invitation = {
    id: 'inv_1',
    email: 'ann@x.io',
    role: 'viewer',
    invited_by: 'key_1',
    created_at: at,
    expires_at: at,
    revoked_at: null,
    accepted_at: null,
    member_id: null,
  };

  it('are invited with a role, changed and removed', async () => {
    const handlers: Handlers = {
      'invitations.create': () => ({ invitation, secret: 'ari_once' }),
      'invitations.revoke': () => ({ ...invitation, revoked_at: at }),
      'invitations.list': () => ({ items: [invitation], next_cursor: null }),
      'members.list': () => ({ items: [member], next_cursor: null }),
      'members.change': () => ({ ...member, role: 'engineer' }),
      'members.remove': () => ({ ...member, removed_at: at }),
    };
    const invite = ['invitations', 'create', 'Ann@x.io', '--role', 'viewer'];
    const made = await armature(handlers, [...invite, '--expires-in', '3600']);
    expect(made.stdout).toContain('ari_once');
    expect(api.calls[0]?.input).toEqual({ email: 'ann@x.io', role: 'viewer', expires_in_s: 3600 });
    for (const what of ['members', 'invitations']) {
      expect((await armature(handlers, [what, 'list'])).stdout).toContain('ann@x.io');
    }
    const changed = await armature(handlers, ['members', 'change', 'mem_1', '--role', 'engineer']);
    expect(changed.stdout).toContain('engineer');
    const removed = await armature(handlers, ['members', 'remove', 'mem_1', '--json']);
    expect(JSON.parse(removed.stdout)).toEqual({ ...member, removed_at: at });
    expect((await armature(handlers, ['invitations', 'revoke', 'inv_1'])).code).toBe(0);
    expect((await armature({}, ['invitations', 'create', 'a@x.io', '--role', 'god'])).code).toBe(2);
    expect((await armature({}, ['invitations', 'create', 'a@x.io'])).code).toBe(2);
  });

  it('accept with an invitation that is piped in, and keep the key it gives', async () => {
    const handlers: Handlers = {
      'invitations.accept': () => ({ member, key, secret: 'arm_1_mine' }),
    };
    const env = { XDG_CONFIG_HOME: join(home, 'accepted') };
    const done = await armatureProcess(handlers, ['invitations', 'accept'], env, 'ari_once\n');
    expect(done).toMatchObject({ code: 0 });
    expect(api.calls[0]?.authorization).toBe('Bearer ari_once');
    expect(done.stdout).not.toContain('arm_1_mine');
    const stored = join(home, 'accepted', 'armature', 'config.json');
    expect(readFileSync(stored, 'utf8')).toContain('arm_1_mine');
    expect(statSync(stored).mode & 0o777).toBe(0o600);
  });
});

describe('webhooks', () => {
  const webhook = {
    id: 'wh_1',
    url: 'https://example.com/hook',
    events: ['dataset.ready'],
    enabled: true,
    created_at: at,
  };
  const delivery = {
    id: 'whd_1',
    webhook_id: 'wh_1',
    event: 'dataset.ready',
    payload: {},
    status: 'failed',
    attempts: 16,
    answer_status: 503,
    error: null,
    created_at: at,
    ended_at: at,
  };
  const handlers: Handlers = {
    'webhooks.create': () => ({ webhook, secret: 'whsec_once' }),
    'webhooks.rotate': () => ({ webhook, secret: 'whsec_next' }),
    'webhooks.list': () => ({ items: [webhook], next_cursor: null }),
    'webhooks.get': () => webhook,
    'webhooks.update': ({ enabled }) => ({ ...webhook, enabled }),
    'webhooks.delete': () => webhook,
    'webhooks.deliveries': ({ cursor }) =>
      cursor === 'b'
        ? { items: [{ ...delivery, id: 'whd_2' }], next_cursor: null }
        : { items: [delivery], next_cursor: 'b' },
    'webhooks.test': () => ({ ...delivery, event: 'webhook.test', status: 'pending' }),
    'webhooks.replay': () => ({ ...delivery, status: 'pending', attempts: 0 }),
  };

  it('are made for events by name or all of a kind, and show their secret once', async () => {
    const create = ['webhooks', 'create', webhook.url, '--events'];
    const made = await armature(handlers, [...create, 'dataset.*, finetune.failed']);
    expect(made.stdout).toContain('whsec_once');
    expect(api.calls[0]?.input).toEqual({
      url: webhook.url,
      events: [
        'dataset.validating',
        'dataset.ready',
        'dataset.rejected',
        'dataset.deleted',
        'finetune.failed',
      ],
    });
    const asJson = await armature(handlers, [...create, 'dataset.ready', '--json']);
    expect(JSON.parse(asJson.stdout)).toEqual({ webhook, secret: 'whsec_once' });
    expect(asJson.stderr).toBe('');
    expect((await armature({}, [...create, 'dataset.gone'])).code).toBe(2);
    expect((await armature({}, ['webhooks', 'create', webhook.url])).code).toBe(2);
  });

  it('are listed, shown, changed, given a new secret and deleted', async () => {
    expect((await armature(handlers, ['webhooks', 'list'])).stdout).toContain(webhook.url);
    expect((await armature(handlers, ['webhooks', 'show', 'wh_1'])).stdout).toContain('wh_1');
    const stopped = await armature(handlers, ['webhooks', 'update', 'wh_1', '--disable']);
    expect(stopped.stdout).toMatch(/enabled +no/);
    expect(api.calls.at(-1)?.input).toEqual({ id: 'wh_1', enabled: false });
    const nothing = await armature(handlers, ['webhooks', 'update', 'wh_1']);
    expect([nothing.code, nothing.stderr.includes('nothing to change')]).toEqual([1, true]);
    const rotated = await armature(handlers, [
      'webhooks',
      'rotate-secret',
      'wh_1',
      '--overlap',
      '60',
    ]);
    expect(rotated.stdout).toContain('whsec_next');
    expect(api.calls.at(-1)?.input).toEqual({ id: 'wh_1', overlap_s: 60 });
    const deleted = await armature(handlers, ['webhooks', 'delete', 'wh_1', '--json']);
    expect(JSON.parse(deleted.stdout)).toEqual(webhook);
  });

  it('say what they were told, page by page or all, and say it again', async () => {
    const first = await armature(handlers, ['webhooks', 'deliveries', 'wh_1']);
    expect(first.stdout).toMatch(/whd_1 +dataset.ready +failed +16 +503/);
    expect(first.stderr).toContain('--cursor b');
    const all = await armature(handlers, ['webhooks', 'deliveries', 'wh_1', '--all', '--json']);
    const { items } = JSON.parse(all.stdout) as { items: { id: string }[] };
    expect(items.map(({ id }) => id)).toEqual(['whd_1', 'whd_2']);
    const again = await armature(handlers, ['webhooks', 'replay', 'whd_1']);
    expect(again.stdout).toMatch(/status +pending/);
    expect(api.calls.at(-1)?.input).toEqual({ id: 'whd_1' });
    const tried = await armature(handlers, ['webhooks', 'test', 'wh_1', '--json']);
    expect(JSON.parse(tried.stdout)).toMatchObject({ event: 'webhook.test', status: 'pending' });
  });
});

describe('resources', () => {
  it('registers an embodiment from a file and from a data set', async () => {
    const spec = join(home, 'spec.json');
    writeFileSync(spec, JSON.stringify(armSpec));
    const handlers: Handlers = { 'embodiments.create': () => embodiment };
    const file = await armature(handlers, ['embodiments', 'create', '--spec', spec, '--json']);
    expect(JSON.parse(file.stdout)).toEqual(embodiment);
    expect(api.calls[0]?.input).toEqual({ spec: armSpec });

    writeFileSync(spec, JSON.stringify({ ...armSpec, horizon: 7 }));
    const wrong = await armature(handlers, ['embodiments', 'create', '--spec', spec]);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('field  horizon');
    const both = await armature(handlers, ['embodiments', 'create']);
    expect(both.stderr).toContain('--from-dataset');
  });

  it('lists page by page, or all', async () => {
    const handlers: Handlers = {
      'datasets.list': ({ cursor }) =>
        cursor === undefined
          ? { items: [dataset({ report: report() })], next_cursor: 'b' }
          : { items: [dataset({ id: 'ds_2', name: 'evil\u001b[2J' })], next_cursor: null },
    };
    const first = await armature(handlers, ['datasets', 'list']);
    expect(first.stdout.split('\n')[0]).toMatch(/^ID +NAME +STATUS/);
    expect(first.stdout).toMatch(/ds_1 +cups +ready +2 +10 B +2 +100/);
    expect(first.stderr).toContain('--cursor b');
    const all = await armature(handlers, ['datasets', 'list', '--all']);
    expect(all.stdout).toContain('ds_2');
    expect(all.stdout).not.toContain('\u001b');
    const json = await armature(handlers, ['--json', 'datasets', 'list']);
    expect(JSON.parse(json.stdout)).toMatchObject({ next_cursor: 'b' });
    expect(json.stderr).toBe('');
  });

  it('deploys a policy, creates and ends sessions, shows usage and reasoning', async () => {
    const session = {
      id: 'ses_1',
      robot: 'arm-1',
      embodiment_id: 'emb_1',
      policy_version_id: 'pv_1',
      epoch: 1,
      created_at: at,
      ended_at: null,
    };
    const counts = {
      chunks: 3,
      actions: 24,
      reasoning_tokens: 30,
      compute_ms: 1500,
      training_ms: 0,
      cost: '0.00063',
    };
    const line = {
      ...counts,
      id: 'l1',
      window_at: at,
      session_id: 'ses_1',
      robot: 'arm "1", left',
      policy_version_id: 'pv_1',
      finetune_id: null,
      price_sheet: '2026-01',
    };
    const handlers: Handlers = {
      'policies.get': () => policyVersion,
      'policies.deploy': () => policyVersion,
      'sessions.create': () => ({
        session,
        url: 'ws://w/v1/robot',
        announce_url: 'http://w/v1/allocations',
        token: 'tok',
        token_expires_at: at,
        embodiment: armSpec,
      }),
      'sessions.end': () => ({ ...session, ended_at: at }),
      'usage.get': () => ({
        from: at,
        to: at,
        time_zone: 'UTC',
        currency: 'USD',
        closed_until: at,
        items: [{ key: '2026-01-02', ...counts }],
        totals: counts,
      }),
      'usage.lines': ({ cursor }) =>
        cursor === undefined
          ? { items: [line], next_cursor: 'c' }
          : { items: [{ ...line, id: 'l2', finetune_id: 'ft_1', robot: null }], next_cursor: null },
      'reasoning.list': () => ({
        items: [
          {
            id: 'rsn_1',
            session_id: 'ses_1',
            text: 'reach for the cup',
            source: 'policy',
            chunks: 2,
            tokens: 5,
            created_at: at,
          },
        ],
        next_cursor: null,
      }),
    };
    const shown = (await armature(handlers, ['policies', 'get', 'pv_1'])).stdout;
    expect(shown).toMatch(/sampler +5 steps, noise 0\n/);
    expect(shown).toMatch(/chunking +off, guided, trained \(up to 4 actions of delay\)\n/);
    expect((await armature(handlers, ['policies', 'deploy', 'pv_1'])).stdout).toContain('deployed');
    const made = await armature(
      handlers,
      'sessions create --robot arm-1 --embodiment emb_1 --reasoning 250 --json'.split(' '),
    );
    expect(JSON.parse(made.stdout)).toMatchObject({ token: 'tok' });
    expect(api.calls[2]?.input).toMatchObject({ reasoning: { when: 'interval', ms: 250 } });
    expect((await armature(handlers, ['sessions', 'end', 'ses_1'])).stdout).toContain(at);
    const usage = await armature(handlers, ['usage', '--by', 'session', '--session', 'ses_1']);
    expect(usage.stdout).toMatch(/all +3 +24 +30 +1\.5 s +0 s +0\.00063/);
    expect(usage.stderr).toContain(`final up to ${at}`);
    for (const format of ['csv', 'parquet']) {
      const out = join(home, `usage.${format}`);
      const words = ['usage', 'export', '--from', at, '--format', format, '--out', out];
      expect((await armature(handlers, words)).stdout).toContain(format);
    }
    expect(api.calls.at(-1)?.input).toMatchObject({ from: at, cursor: 'c' });
    const text = readFileSync(join(home, 'usage.csv'), 'utf8');
    expect(text.split('\r\n')).toEqual([
      'id,window_at,session_id,robot,policy_version_id,finetune_id,chunks,actions,reasoning_tokens,compute_ms,training_ms,cost,price_sheet',
      `l1,${at},ses_1,"arm ""1"", left",pv_1,,3,24,30,1500,0,0.00063,2026-01`,
      `l2,${at},ses_1,,pv_1,ft_1,3,24,30,1500,0,0.00063,2026-01`,
      '',
    ]);
    const file = readFileSync(join(home, 'usage.parquet'));
    const rows = await parquetReadObjects({ file: new Uint8Array(file).buffer });
    expect(rows).toMatchObject([
      { id: 'l1', window_at: new Date(at), robot: line.robot, chunks: 3n, finetune_id: null },
      { id: 'l2', actions: 24n, compute_ms: 1500, cost: '0.00063', robot: null },
    ]);
    const reasoning = await armature(handlers, ['reasoning', '--session', 'ses_1']);
    expect(reasoning.stdout).toContain('reach for the cup');
  });
});

describe('long commands', () => {
  it('downloads the files of a policy version, and keeps none that is not what its digest says', async () => {
    const stored = new Map([
      ['manifest.json', '{"format":"armature-policy/1"}'],
      ['heads/arm.safetensors', 'weights'],
    ]);
    const asked: string[] = [];
    api.extra = (request, response) => {
      const [, path = ''] = /^\/store\/(.*)$/.exec(request.url ?? '') ?? [];
      if (path === '') return Promise.resolve(false);
      asked.push(path);
      response.writeHead(200).end(stored.get(path));
      return Promise.resolve(true);
    };
    const files = [...stored].map(([path, text]) => ({
      path,
      size: text.length,
      sha256: createHash('sha256').update(text).digest('hex'),
      url: `${api.url}/store/${path}`,
    }));
    const answer = { id: 'pv_1', digest: files[0]?.sha256, files, expires_at: at };
    const handlers: Handlers = { 'policies.files': () => answer };
    const out = join(home, 'fetched');
    const args = ['policies', 'download', 'pv_1', '--out', out];
    const first = await armature(handlers, [...args, '--json']);
    expect(first.code).toBe(0);
    expect(JSON.parse(first.stdout)).toEqual({
      id: 'pv_1',
      digest: answer.digest,
      dir: out,
      files: [
        { path: 'heads/arm.safetensors', size: 7 },
        { path: 'manifest.json', size: 30 },
      ],
    });
    for (const [path, text] of stored) expect(readFileSync(join(out, path), 'utf8')).toBe(text);
    const again = await armature(handlers, args);
    expect(again.stdout).toContain('pv_1: 2 files, 37 B in');
    expect(asked).toHaveLength(2);

    stored.set('heads/arm.safetensors', 'WEIGHTS');
    const other = join(home, 'spoilt');
    const spoilt = await armature(handlers, ['policies', 'download', 'pv_1', '--out', other]);
    expect([spoilt.code, spoilt.stdout]).toEqual([1, '']);
    expect(spoilt.stderr).toContain('checksum_mismatch');
    expect(existsSync(join(other, 'heads/arm.safetensors'))).toBe(false);
    expect(existsSync(join(other, 'manifest.json'))).toBe(false);
  });

  it('pushes a data set and shows the report of one that is refused', async () => {
    const dir = join(home, 'cups');
    mkdirSync(join(dir, 'meta'), { recursive: true });
    writeFileSync(join(dir, 'meta', 'info.json'), '{}');
    const stored = new Map<string, string>();
    api.extra = async (request, response) => {
      if (request.method !== 'PUT') return false;
      let text = '';
      for await (const chunk of request) text += String(chunk);
      stored.set(request.url ?? '', text);
      response.writeHead(200).end();
      return true;
    };
    const finding = {
      severity: 'error' as const,
      code: 'video_too_short',
      message: 'the video ends early',
      fix: 'Record it again.',
      episode: 3,
    };
    let refused = false;
    const handlers: Handlers = {
      'datasets.list': () => ({ items: [], next_cursor: null }),
      'datasets.create': ({ files }) => ({
        dataset: dataset({ status: 'uploading' }),
        parts: (files as DatasetFile[]).map(({ path, size }) => ({
          path,
          size,
          url: `${api.url}/${path}`,
          method: 'PUT',
          headers: {},
        })),
        expires_at: at,
      }),
      'datasets.complete': () => dataset({ status: 'validating' }),
      'datasets.get': () =>
        refused
          ? dataset({ status: 'rejected', report: report({ findings: [finding] }) })
          : dataset({ report: report() }),
    };
    const args = ['datasets', 'push', dir, '--embodiment', 'emb_1'];
    const good = await armatureProcess(handlers, [...args, '--json']);
    expect([good.code, good.stderr]).toEqual([0, '']);
    expect(JSON.parse(good.stdout)).toMatchObject({ id: 'ds_1', status: 'ready' });
    expect(stored.get('/meta/info.json')).toBe('{}');
    expect(api.calls[1]?.input).toMatchObject({ name: 'cups', embodiment_id: 'emb_1' });
    refused = true;
    const bad = await armature(handlers, args);
    expect([bad.code, bad.stdout]).toEqual([1, '']);
    expect(bad.stderr).toMatch(/video_too_short +3/);
    expect(bad.stderr).toContain('field  episodes[3]');
  });

  it('accepts a set without the episodes that are named, one by one or in runs', async () => {
    const handlers: Handlers = { 'datasets.accept': () => dataset({ status: 'validating' }) };
    const accept = (...without: string[]) =>
      armature(handlers, ['datasets', 'accept', 'ds_1', ...without]);
    const done = await accept('--without', '3,20-23');
    expect([done.code, done.stdout.trim()]).toEqual([0, 'ds_1 is validating']);
    expect(api.calls.at(-1)?.input).toEqual({ id: 'ds_1', without_episodes: [3, 20, 21, 22, 23] });
    const before = api.calls.length;
    for (const wrong of ['', '3,', '5-3', '1-2-3', 'a', '-1', '0-10000']) {
      const refused = await accept('--without', wrong);
      expect([wrong, refused.code]).toEqual([wrong, 2]);
    }
    expect((await accept()).stderr).toContain('--without');
    expect(api.calls).toHaveLength(before);
  });

  it('shows the episodes of a set with their pictures, a page at a time', async () => {
    const url = 'https://store.example/0-0-0.jpg?signature=a';
    const stats = { mean: [0], std: [0], min: [0], max: [0] };
    const handlers: Handlers = {
      'datasets.episodes': ({ page }) => ({
        items: [
          {
            episode: Number(page) * 50 + 3,
            frames: 87,
            seconds: 2.9,
            task: 'lift the cup',
            state: stats,
            action: null,
            pictures: [{ camera: 'top', frame: 0, width: 160, height: 120, url }],
          },
        ],
        next_page: Number(page) === 0 ? 1 : null,
        expires_at: at,
      }),
    };
    const first = await armature(handlers, ['datasets', 'episodes', 'ds_1']);
    expect(first.stdout).toMatch(/^3 +87 +2\.9 +lift the cup +https:.*signature=a/m);
    expect(first.stderr).toContain('--page 1');
    const rest = await armature(handlers, 'datasets episodes ds_1 --page 1'.split(' '));
    expect(rest.stdout).toMatch(/^53 +87/m);
    expect(rest.stderr).not.toContain('--page');
  });

  it('follows a job with its events to the end', async () => {
    let looks = 0;
    const data = { step: 10, steps: 100, loss: 0.25, samples_per_s: 40, eta_s: 65 };
    const train = {
      mode: 'head' as const,
      steps: 100,
      samples_per_s: 40,
      seconds: 20,
      first_loss: 1,
      last_loss: 0.1,
    };
    const handlers: Handlers = {
      'finetunes.create': () => finetune({ status: 'queued' }),
      'finetunes.get': () =>
        looks++ < 1 ? finetune({ status: 'running', progress: 0.1 }) : finetune({ train }),
      'finetunes.events': ({ after }) => ({
        items: [event(1), event(2, { kind: 'metrics', data })].filter((e) => e.seq > Number(after)),
      }),
    };
    const args = ['finetune', 'create', '--dataset', 'ds_1', '--name', 'cups', '--mode', 'full'];
    const done = await armature(handlers, [...args, '--steps', '100', '--watch']);
    expect(done.code).toBe(0);
    expect(done.stderr).toContain('message: event 1');
    expect(done.stderr).toContain('step 10/100, loss 0.2500, 40 samples/s, ETA 1 min 5 s');
    expect(done.stdout).toContain('loss 1.0000 → 0.1000');
    expect(api.calls[0]?.input).toMatchObject({ options: { mode: 'full', steps: 100 } });
  });

  it('goes on from a policy version, in an estimate and in a job', async () => {
    const refusal = { field: 'options.base_policy_version_id', fix: 'Choose another version.' };
    const handlers: Handlers = {
      'finetunes.create': () => finetune({ status: 'queued' }),
      'finetunes.estimate': () => {
        throw new ArmatureError('invalid_request', 'pv_1 is of another embodiment', refusal);
      },
    };
    const args = 'finetune create --dataset ds_1 --name cups --from pv_1'.split(' ');
    expect((await armature(handlers, args)).code).toBe(0);
    const refused = await armature(handlers, [...args, '--estimate']);
    expect([refused.code, refused.stdout]).toEqual([1, '']);
    expect(refused.stderr).toContain('pv_1 is of another embodiment');
    expect(refused.stderr).toContain(refusal.field);
    expect(refused.stderr).toContain(refusal.fix);
    expect(api.names()).toEqual(['finetunes.create', 'finetunes.estimate']);
    for (const { input } of api.calls) {
      expect(input).toMatchObject({ options: { base_policy_version_id: 'pv_1' } });
    }
  });

  it('trains on several sets, makes a draft, and shows figures and checkpoints', async () => {
    const sha256 = 'a'.repeat(64);
    const handlers: Handlers = {
      'finetunes.create': () => finetune({ status: 'draft', added_dataset_ids: ['ds_2', 'ds_3'] }),
      'finetunes.start': () => finetune({ status: 'queued' }),
      'finetunes.metrics': ({ after }) => ({
        items: [{ step: Number(after) + 10, at, value: 0.5, min: 0.25, max: 1, lines: 10 }],
        next_after: Number(after) === 0 ? 10 : null,
      }),
      'finetunes.checkpoints': () => ({ items: [{ step: 7, bytes: 2000, sha256, at }] }),
    };
    const args = 'finetune create --dataset ds_1 --add ds_2 ds_3 --name cups --draft --watch';
    const made = await armature(handlers, args.split(' '));
    expect(made).toMatchObject({ code: 0 });
    expect(made.stdout).toContain('ds_1, ds_2, ds_3');
    expect(api.calls).toHaveLength(1);
    expect(api.calls[0]?.input).toMatchObject({
      dataset_id: 'ds_1',
      added_dataset_ids: ['ds_2', 'ds_3'],
      start: false,
    });
    expect((await armature(handlers, ['finetune', 'start', 'ft_1'])).stdout).toContain('queued');
    const figures = 'finetune metrics ft_1 --name action_loss --every 10';
    const shown = await armature(handlers, figures.split(' '));
    expect(shown.stdout).toMatch(/^10 .*0\.50000 +0\.25000 +1\.0000$/m);
    expect(shown.stdout).toMatch(/^20 /m);
    const asked = api.calls.filter(({ name }) => name === 'finetunes.metrics');
    expect(asked.map(({ input }) => input)).toMatchObject([
      { name: 'action_loss', every: 10, after: 0 },
      { name: 'action_loss', every: 10, after: 10 },
    ]);
    const kept = await armature(handlers, ['finetune', 'checkpoints', 'ft_1']);
    expect(kept.stdout).toMatch(new RegExp(`^7 +2.0 KB +${sha256}`, 'm'));
    expect((await armature({}, ['finetune', 'metrics', 'ft_1', '--name', 'nonsense'])).code).toBe(
      2,
    );
  });

  it('deletes a data set, and records what a version scored', async () => {
    const handlers: Handlers = {
      'datasets.delete': () => dataset({ status: 'deleted', deleted_at: at }),
      'policies.score': () => policyVersion,
    };
    const gone = await armature(handlers, ['datasets', 'delete', 'ds_1']);
    expect(gone.stdout).toContain('ds_1 is deleted');
    const args = 'policies score pv_1 --simulator tabletop --episodes 100 --successes 97';
    expect((await armature(handlers, args.split(' '))).code).toBe(0);
    expect(api.calls.at(-1)?.input).toEqual({
      id: 'pv_1',
      simulator: 'tabletop',
      episodes: 100,
      successes: 97,
    });
  });

  it('exits with 1 and the error of a job that failed', async () => {
    const error = { code: 'empty_dataset' as const, message: 'no episodes', fix: 'Record some.' };
    const failed = await armature(
      {
        'finetunes.get': () => finetune({ status: 'failed', error }),
        'finetunes.events': () => ({ items: [] }),
      },
      ['finetune', 'watch', 'ft_1', '--json'],
    );
    expect(failed.code).toBe(1);
    expect(JSON.parse(failed.stderr)).toMatchObject({ error: { code: 'empty_dataset' } });
  });

  it.each([
    ['cancel', ['finetunes.cancel']],
    ['leave', []],
  ])('Ctrl-C with --on-interrupt %s exits with 130', async (what, calls) => {
    api.handlers = {
      'finetunes.get': () => finetune({ status: 'running', progress: 0.5 }),
      'finetunes.events': () => ({ items: [] }),
      'finetunes.cancel': () => finetune({ status: 'cancelling' }),
    };
    const { child, ended } = start(['finetune', 'watch', 'ft_1', '--on-interrupt', what]);
    const poll = setInterval(() => {
      if (!api.names().includes('finetunes.events')) return;
      clearInterval(poll);
      child.kill('SIGINT');
    }, 100);
    const { code } = await ended;
    expect(code).toBe(130);
    expect(api.names().filter((name) => name === 'finetunes.cancel')).toEqual(calls);
  });
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Sealing } from '@armature/db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { platformFolder, type PlatformFolder } from './folder.ts';
import { takeLock } from './lock.ts';
import { choosePorts } from './ports.ts';
import { keepDevKey, loadSecrets, type Secrets } from './secrets.ts';

let folder: PlatformFolder;

beforeEach(async () => {
  folder = platformFolder(await mkdtemp(path.join(os.tmpdir(), 'armature-folder-')));
});
afterEach(async () => {
  await rm(folder.root, { recursive: true });
});

describe('the lock', () => {
  it('refuses a second platform in one folder until the first lets go', () => {
    const lock = takeLock(folder.lock);
    expect(() => takeLock(folder.lock)).toThrow(/Another platform \(process \d+\)/);
    lock.release();
    takeLock(folder.lock).release();
  });

  it('takes over from a process that is gone', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    await writeFile(folder.lock, JSON.stringify({ pid: child.pid, started: '1' }));
    takeLock(folder.lock).release();
  });

  it.runIf(process.platform === 'linux')(
    'takes over when the number belongs to another process by now',
    async () => {
      await writeFile(folder.lock, JSON.stringify({ pid: process.pid, started: '1' }));
      takeLock(folder.lock).release();
    },
  );

  it('takes over a lock that was cut off while it was written', async () => {
    await writeFile(folder.lock, '{"pid":');
    takeLock(folder.lock).release();
  });
});

describe('secrets', () => {
  it('are made once, kept, and readable by their owner alone', async () => {
    const secrets = loadSecrets(folder.secrets);
    expect(loadSecrets(folder.secrets)).toEqual(secrets);
    expect((await stat(folder.secrets)).mode & 0o777).toBe(0o600);
    expect(secrets.session_signing_jwk).toMatchObject({ kty: 'OKP', crv: 'Ed25519' });
    expect(keepDevKey(folder.secrets, secrets, 'a key').dev_key).toBe('a key');
    expect(loadSecrets(folder.secrets).dev_key).toBe('a key');
  });

  it('get what an earlier version did not have, and keep the rest', async () => {
    const earlier: Partial<Secrets> = { ...loadSecrets(folder.secrets) };
    delete earlier.sealing_keys;
    delete earlier.auth_secret;
    await writeFile(folder.secrets, JSON.stringify(earlier));
    const secrets = loadSecrets(folder.secrets);
    expect(secrets).toMatchObject(earlier);
    expect(Sealing.of(secrets.sealing_keys).open).toBeTypeOf('function');
    expect(secrets.auth_secret).toHaveLength(43);
    expect(loadSecrets(folder.secrets)).toEqual(secrets);
  });

  it('are not made anew over a damaged file', async () => {
    await writeFile(folder.secrets, '{}');
    expect(() => loadSecrets(folder.secrets)).toThrow(/secrets.json is damaged/);
    expect(await readFile(folder.secrets, 'utf8')).toBe('{}');
  });
});

describe('ports', () => {
  it('are remembered, and chosen anew where another program has taken one', async () => {
    const first = await choosePorts(folder.ports);
    expect(new Set(Object.values(first)).size).toBe(3);
    expect(await choosePorts(folder.ports)).toEqual(first);

    const other = createServer().listen(first.api, '127.0.0.1');
    await once(other, 'listening');
    const second = await choosePorts(folder.ports);
    other.close();
    expect(second).toEqual({ ...first, api: second.api });
    expect(second.api).not.toBe(first.api);
  });
});

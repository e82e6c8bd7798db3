import { createRequire } from 'node:module';
import { readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { McapStreamReader } from '@mcap/core';
import { build } from 'esbuild';
import { parquetReadObjects } from 'hyparquet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { embodimentSpecSchema } from '@armature/sdk/contract';
import workspace from '../sdk/package.json' with { type: 'json' };
import { grantFor } from '../workers/serve/testing/grant.ts';
import { armSpec } from '../workers/serve/testing/robots.ts';
import { startWorker, type TestWorker } from '../workers/serve/testing/worker.ts';
import { startTestApi, type TestApi } from './support/api.ts';
import { bytesBeneath, installSdk, type InstalledSdk } from './support/installed-sdk.ts';

/** Everything that an installation lays on the disk. */
const MOST_BYTES = 1_000_000;
const ROOT = fileURLToPath(new URL('..', import.meta.url));

let sdk: InstalledSdk;
// Two compilers run in it, for some ten seconds where nobody else wants the cores.
beforeAll(async () => {
  sdk = await installSdk();
}, 300_000);
afterAll(() => sdk.remove());

describe('an installation of the SDK', () => {
  it('is one package of under 1 MB, with nothing to install beside it and nothing to run', async () => {
    const modules = join(sdk.dir, 'node_modules');
    const installed = (await readdir(modules)).filter((name) => !name.startsWith('.'));
    expect(installed).toEqual(['@armature']);
    expect(await readdir(join(modules, '@armature'))).toEqual(['sdk']);
    const bytes = await bytesBeneath(modules);
    process.stderr.write(`installed: ${bytes} bytes; tarball: ${sdk.packed.size} bytes\n`);
    expect(bytes).toBeLessThan(MOST_BYTES);
    const text = await readFile(join(modules, '@armature/sdk/package.json'), 'utf8');
    const manifest = JSON.parse(text) as Record<string, unknown>;
    for (const field of ['scripts', 'dependencies', 'optionalDependencies', 'peerDependencies']) {
      expect(manifest).not.toHaveProperty(field);
    }
    expect(manifest['version']).toBe(workspace.version);
  });

  it('holds no source, and says of each package that it includes under which licence', async () => {
    const paths = sdk.packed.files.map(({ path }) => path);
    expect(paths.filter((path) => !/^(lib\/.*\.js|types\/.*\.d\.ts|[^/]+)$/.test(path))).toEqual(
      [],
    );
    const notices = join(sdk.dir, 'node_modules/@armature/sdk/THIRD-PARTY-NOTICES.md');
    const named = [...(await readFile(notices, 'utf8')).matchAll(/^## (.+)$/gm)].map(
      ([, name]) => name,
    );
    expect(named).toEqual(expect.arrayContaining(Object.keys(workspace.dependencies)));
  });
});

/** What a robot runs: it acts, runs its loop, records, and is refused. */
const ROBOT = `
import { writeFile } from 'node:fs/promises';
import * as sdk from '@armature/sdk';
import * as contract from '@armature/sdk/contract';

const [given] = process.argv.slice(2);
const { grant, spec } = JSON.parse(given);
const seen = () => ({
  images: { front: { pixels: new Uint8Array(64 * 48 * 3).fill(90) } },
  state: Float32Array.of(0.2, 0.1),
  instruction: 'lift the cup',
});
const refusal = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return { code: error.code, typed: error instanceof contract.ArmatureError };
  }
};
const robot = await sdk.connectRobot({ embodiment: spec, grant });
const first = await robot.act(seen());
const missing = await refusal(robot.act({ ...seen(), images: {} }));
const record = new sdk.SessionRecorder(spec);
const stats = await robot.run({ observe: seen, execute: () => {}, ticks: 30, record });
await robot.close();
await writeFile('episode.mcap', await sdk.recordingToMcap(record));
await sdk.exportLeRobot(record, 'episode');
const refused = await refusal(
  sdk.connectRobot({ embodiment: spec, grant: { ...grant, token: 'a.b.c' } }),
);
console.log(
  JSON.stringify({
    rows: first.rows.length,
    reasoning: first.reasoning.text,
    chunks: stats.chunks,
    steps: record.steps.length,
    missing,
    refused,
    issues: sdk.embodimentSpecSchema.safeParse({ name: 1 }).error.issues,
  }),
);
`;

interface Outcome {
  readonly rows: number;
  readonly reasoning: string;
  readonly chunks: number;
  readonly steps: number;
  readonly issues: unknown;
}

describe('the installed client, in plain Node', () => {
  let worker: TestWorker;
  let outcome: Outcome;
  beforeAll(async () => {
    worker = await startWorker();
    await writeFile(join(sdk.dir, 'robot.js'), ROBOT);
    const grant = await grantFor(worker, worker.claims({ sub: 'ses_installed' }));
    const given = JSON.stringify({ grant, spec: armSpec() });
    const { code, stdout, stderr } = await sdk.run(process.execPath, ['robot.js', given]);
    expect([code, stderr]).toEqual([0, '']);
    outcome = JSON.parse(stdout) as Outcome;
  });
  afterAll(() => worker.stop());

  it('acts on a worker, is metered, and is refused with the errors of both doors', async () => {
    expect(outcome).toMatchObject({
      rows: 8,
      reasoning: 'to lift the cup',
      missing: { code: 'missing_camera', typed: true },
      refused: { code: 'invalid_token', typed: true },
    });
    expect(outcome.chunks).toBeGreaterThan(2);
    await worker.ledger.flush(5000);
    const usage = [...worker.sink.entries.values()].filter((entry) => entry.kind === 'usage');
    expect(usage).toHaveLength(outcome.chunks);
  });

  it('writes recordings that other readers read', async () => {
    expect(outcome.steps).toBeGreaterThan(15);
    const reader = new McapStreamReader();
    reader.append(await readFile(join(sdk.dir, 'episode.mcap')));
    let messages = 0n;
    for (let record = reader.nextRecord(); record !== undefined; record = reader.nextRecord()) {
      if (record.type === 'Statistics') messages = record.messageCount;
    }
    expect(messages).toBeGreaterThanOrEqual(3 * outcome.steps);
    const table = await readFile(join(sdk.dir, 'episode/data/chunk-000/episode_000000.parquet'));
    const { buffer, byteOffset, byteLength } = table;
    const file = buffer.slice(byteOffset, byteOffset + byteLength);
    expect(await parquetReadObjects({ file })).toHaveLength(outcome.steps);
  });

  it('says what is wrong in the words that the sources say it in', () => {
    const { error } = embodimentSpecSchema.safeParse({ name: 1 });
    expect(outcome.issues).toEqual(error?.issues);
  });
});

describe('the installed command line', () => {
  let api: TestApi;
  let key: string;
  beforeAll(async () => {
    api = await startTestApi();
    ({ key } = await api.tenant());
  });
  afterAll(() => api.stop());

  const armature = (...args: string[]) =>
    sdk.run(join(sdk.dir, 'node_modules/.bin/armature'), args, {
      ARMATURE_API_URL: api.url,
      ARMATURE_API_KEY: key,
    });

  it('says its version and what there is', async () => {
    expect(await armature('--version')).toEqual({
      code: 0,
      stdout: `${workspace.version}\n`,
      stderr: '',
    });
    const help = await armature('--help');
    expect(help.code).toBe(0);
    for (const verb of ['datasets', 'finetune', 'policies', 'sessions', 'usage']) {
      expect(help.stdout).toMatch(new RegExp(`^  ${verb}[ |]`, 'm'));
    }
  });

  it('registers an embodiment and lists it', async () => {
    await writeFile(join(sdk.dir, 'arm.json'), JSON.stringify(armSpec()));
    const made = await armature('embodiments', 'create', '--spec', 'arm.json', '--json');
    expect([made.code, made.stderr]).toEqual([0, '']);
    const { id } = JSON.parse(made.stdout) as { readonly id: string };
    const stored = await api.must('embodiments.get', key, { id });
    expect(stored.spec).toEqual(armSpec());
    const listed = await armature('embodiments', 'list');
    expect(listed.stdout).toContain(id);
  });

  it('says where to find what a checkout alone has', async () => {
    const { code, stderr } = await armature('models', 'plan', '7b', '--gpu-memory', '80', '--json');
    expect(code).toBe(1);
    expect(stderr).toContain('not_found');
    expect(stderr).toContain('in a checkout of Armature');
  });
});

/** Types of the control plane's verbs, which follow from the contract's schemas. */
const CLIENT = `
import { Armature, ArmatureError, type PolicyVersion } from '@armature/sdk';
import { routes, type RouteOutput } from '@armature/sdk/contract';

export const client = new Armature({ apiUrl: 'http://127.0.0.1', apiKey: 'key' });
export async function first(): Promise<PolicyVersion | undefined> {
  const { items } = await client.policies.list({});
  // @ts-expect-error an item is a policy version, not any value
  const wrong: number = items[0];
  // @ts-expect-error a verb that there is not
  await client.policies.destroy({});
  // @ts-expect-error a field that the verb has not
  await client.policies.list({ colour: 'red' });
  return wrong === 0 ? undefined : items[0];
}
export const name: string = routes['embodiments.get'].output.parse({}).spec.name;
export const output = (answer: RouteOutput<'embodiments.get'>): string => answer.spec.name;
// @ts-expect-error a code that there is not
export const error = new ArmatureError('no_such_code', 'text');
`;

describe('the installed declarations', () => {
  const SHARED = {
    strict: true,
    skipLibCheck: false,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    target: 'ES2022',
    noEmit: true,
  };
  const source = (path: string) => readFile(join(ROOT, 'sdk/src', path), 'utf8');
  /** As a stranger writes it: the package's name in place of its files. */
  const fromPackage = (text: string): string =>
    text.replaceAll(/from '(\.[^']+)'/g, (_, path: string) =>
      path.endsWith('/two-joint-arm.ts') ? "from './arm.js'" : "from '@armature/sdk'",
    );
  beforeAll(async () => {
    const arm = fromPackage(await source('testing/two-joint-arm.ts'));
    const checks = fromPackage(await source('robot/embodiment.test-d.ts'));
    await writeFile(join(sdk.dir, 'arm.ts'), arm);
    await writeFile(join(sdk.dir, 'checks.ts'), checks);
    await writeFile(join(sdk.dir, 'client.ts'), CLIENT);
  });

  /** Diagnostics of the project's files and of the declarations; empty where all is as said. */
  async function check(options: object): Promise<string> {
    const compilerOptions = { ...SHARED, ...options };
    const config = { compilerOptions, include: ['*.ts'] };
    await writeFile(join(sdk.dir, 'tsconfig.json'), JSON.stringify(config));
    const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
    return (await sdk.run(process.execPath, [tsc, '-p', '.'])).stdout;
  }

  it('type-check a stranger’s lines, and refuse those that must not compile, in a browser’s project', async () => {
    const browser = { lib: ['ES2023', 'DOM'], types: [], customConditions: ['browser'] };
    expect(await check({ ...browser, module: 'ESNext', moduleResolution: 'bundler' })).toBe('');
  });

  it('do so in a project of Node', async () => {
    await symlink(join(ROOT, 'node_modules/@types'), join(sdk.dir, 'node_modules/@types'));
    expect(await check({ lib: ['ES2023'], types: ['node'], module: 'NodeNext' })).toBe('');
  });
});

describe('a browser’s bundle of the installed package', () => {
  it('holds nothing of Node, and is small', async () => {
    const entry =
      "export * from '@armature/sdk'; export * as contract from '@armature/sdk/contract';";
    const { outputFiles, warnings } = await build({
      stdin: { contents: entry, resolveDir: sdk.dir },
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      write: false,
      logLevel: 'silent',
    });
    expect(warnings).toEqual([]);
    const [bundle] = outputFiles;
    if (bundle === undefined) throw new Error('nothing was built');
    expect(bundle.text).not.toMatch(/from"(?:node:|fs|net|http|crypto|zlib)/);
    expect(bundle.contents.byteLength).toBeLessThan(300_000);
  });
});

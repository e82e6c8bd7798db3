import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ESLint } from 'eslint';
import { beforeAll, describe, expect, it } from 'vitest';
import { boundaries } from './boundaries.ts';
import { lintConfig } from './config.ts';
import { SYSTEM_ACCESS } from './system-access-sites.ts';

const root = new URL('../..', import.meta.url).pathname.replace(/\/$/, '');

/** The house's own rules only: they need no types but `checked-non-null`, tested on a real file. */
const untyped = [
  'house/boundaries',
  'house/environment',
  'house/one-transaction',
  'house/purity',
  'house/system-access',
];

let eslint: ESLint;

beforeAll(() => {
  eslint = new ESLint({
    cwd: root,
    overrideConfigFile: true,
    overrideConfig: lintConfig(root)
      .filter((entry) => entry.plugins !== undefined || entry.languageOptions !== undefined)
      .map((entry) => ({
        ...entry,
        languageOptions: { ...entry.languageOptions, parserOptions: { project: null } },
        rules: Object.fromEntries(untyped.map((rule) => [rule, 'error'] as const)),
      })),
  });
});

/** What the house's rules say about `source` if it lay at `file`. */
async function complaints(file: string, source: string): Promise<string[]> {
  const [result] = await eslint.lintText(source, { filePath: `${root}/${file}` });
  return (result?.messages ?? []).map(
    (message) => `${message.ruleId ?? 'parse'}: ${message.message}`,
  );
}

interface Crossing {
  readonly boundary: string;
  readonly file: string;
  readonly fires: readonly string[];
  readonly passes: readonly string[];
}

const crossings: readonly Crossing[] = [
  {
    boundary: 'contract-is-the-wire',
    file: 'sdk/contract/example.ts',
    fires: ['ws', 'node:fs', '@armature/policy/data', '../src/client.ts'],
    passes: ['zod', './errors.ts'],
  },
  {
    boundary: 'client-stands-alone',
    file: 'sdk/src/example.ts',
    fires: ['hono', '@armature/api', '@armature/datasets', '../cli/main.ts'],
    passes: ['@armature/sdk/contract', '../contract/index.ts', 'ws', './robot.ts'],
  },
  {
    boundary: 'cli-uses-the-client',
    file: 'sdk/cli/example.ts',
    fires: ['@armature/db', '@armature/datasets'],
    passes: ['@armature/sdk', '../src/index.ts', 'commander'],
  },
  {
    boundary: 'no-client-inside',
    file: 'workers/serve/example.ts',
    fires: ['@armature/sdk'],
    passes: ['@armature/sdk/contract'],
  },
  {
    boundary: 'api-and-workers-apart',
    file: 'api/services/example.ts',
    fires: ['@armature/workers', '@armature/workers/serve'],
    passes: ['@armature/db', '@armature/storage'],
  },
  {
    boundary: 'api-and-workers-apart',
    file: 'workers/train/example.ts',
    fires: ['@armature/api'],
    passes: ['@armature/db'],
  },
  {
    boundary: 'workers-apart',
    file: 'workers/ingest/example.ts',
    fires: ['../train/job/ledger.ts', '../serve/clock.ts'],
    passes: ['../jobs/lease.ts', './ledger.ts'],
  },
  {
    boundary: 'workers-apart',
    file: 'workers/jobs/example.ts',
    fires: ['../train/worker.ts'],
    passes: ['./lease.ts'],
  },
  {
    boundary: 'db-stands-alone',
    file: 'db/example.ts',
    fires: ['@armature/sdk/contract', '@armature/storage'],
    passes: ['drizzle-orm', './schema.ts'],
  },
  {
    boundary: 'database-behind-services',
    file: 'api/rest/example.ts',
    fires: ['@armature/db'],
    passes: ['../services/index.ts', '@armature/sdk/contract'],
  },
  {
    boundary: 'database-behind-services',
    file: 'workers/serve/gateway/example.ts',
    fires: ['@armature/db'],
    passes: ['../ledger/index.ts'],
  },
  {
    boundary: 'packages-have-homes',
    file: 'workers/train/example.ts',
    fires: ['drizzle-orm', 'onnxruntime-node', '@aws-sdk/client-s3', 'jose', 'node-av'],
    passes: ['pino', '@armature/policy/engine'],
  },
  {
    boundary: 'packages-have-homes',
    file: 'policy/tensor/example.ts',
    fires: ['onnxruntime-node'],
    passes: ['protobufjs'],
  },
  {
    boundary: 'packages-have-homes',
    file: 'api/auth/example.ts',
    fires: ['better-auth', 'better-auth/minimal', '@better-auth/drizzle-adapter', 'nodemailer'],
    passes: ['jose'],
  },
  {
    boundary: 'packages-have-homes',
    file: 'api/auth/people/example.ts',
    fires: ['drizzle-orm', 'nodemailer'],
    passes: ['better-auth/minimal', 'jose'],
  },
  {
    boundary: 'packages-have-homes',
    file: 'api/mail/example.ts',
    fires: ['better-auth'],
    passes: ['nodemailer'],
  },
  {
    boundary: 'policy-is-pure',
    file: 'policy/train/example.ts',
    fires: ['node:fs', 'node:fs/promises', 'node:http', 'node:net', '@armature/storage'],
    passes: ['../tensor/index.ts', '@armature/sdk/contract', 'node:crypto'],
  },
  {
    boundary: 'demo-uses-public-interfaces',
    file: 'infra/demo/example.ts',
    fires: ['@armature/policy/runtime', '@armature/storage', '@armature/workers'],
    passes: ['@armature/sdk', '@armature/sim', '@armature/datasets', '../platform/index.ts'],
  },
  {
    boundary: 'doors',
    file: 'datasets/example.ts',
    fires: ['../policy/data/index.ts', '../storage/index.ts'],
    passes: ['@armature/storage', './reader.ts'],
  },
  {
    boundary: 'tests-stay-outside',
    file: 'sim/example.ts',
    fires: ['@armature/test/support', '../test/support/scratch.ts'],
    passes: ['./world.ts'],
  },
];

describe('house/boundaries', () => {
  it('has a crossing in this test for every boundary', () => {
    expect(new Set(crossings.map((crossing) => crossing.boundary))).toEqual(
      new Set(boundaries.map((boundary) => boundary.name)),
    );
  });

  for (const { boundary, file, fires, passes } of crossings) {
    it.each(fires)(`${boundary}: ${file} may not import %s`, async (specifier) => {
      const found = await complaints(file, `import { x } from '${specifier}';\nexport { x };\n`);
      expect(found.join('\n')).toContain(`crosses the boundary ${boundary}.`);
    });
    it.each(passes)(`${boundary}: ${file} may import %s`, async (specifier) => {
      expect(await complaints(file, `import { x } from '${specifier}';\nexport { x };\n`)).toEqual(
        [],
      );
    });
  }

  it.each([
    "export * from 'drizzle-orm';\n",
    "export { sql } from 'drizzle-orm';\n",
    "export const load = () => import('drizzle-orm');\n",
    "export type Sql = import('drizzle-orm').SQL;\n",
    "import type { SQL } from 'drizzle-orm';\nexport type { SQL };\n",
    "export const sql = require('drizzle-orm');\n",
  ])('sees every way of importing: %s', async (source) => {
    expect((await complaints('api/rest/example.ts', source)).join('\n')).toContain(
      'crosses the boundary packages-have-homes.',
    );
  });

  it('lets tests look behind doors', async () => {
    const source = "import { connect } from '@armature/db';\nexport { connect };\n";
    expect(await complaints('api/rest/example.test.ts', source)).toEqual([]);
    expect(await complaints('test/isolation/example.ts', source)).toEqual([]);
  });
});

describe('house/environment', () => {
  it.each([
    'export const port = process.env.PORT;\n',
    "export const port = process['env']['PORT'];\n",
    'const { env } = process;\nexport { env };\n',
    "import { env } from 'node:process';\nexport { env };\n",
  ])('refuses %s outside config.ts', async (source) => {
    expect((await complaints('api/main.ts', source)).join('\n')).toContain('house/environment');
    expect(await complaints('api/config.ts', source)).toEqual([]);
    expect(await complaints('bench/main.ts', source)).toEqual([]);
  });
});

describe('house/purity', () => {
  it.each([
    'export const x = Math.random();\n',
    'export const x = Date.now();\n',
    'export const x = performance.now();\n',
    'export const x = new Date();\n',
  ])('refuses %s in policy but not in its engine', async (source) => {
    expect((await complaints('policy/train/loop.ts', source)).join('\n')).toContain('house/purity');
    expect(await complaints('policy/engine/worker.ts', source)).toEqual([]);
    expect(await complaints('sim/pretrain/main.ts', source)).toEqual([]);
  });
});

describe('house/system-access', () => {
  const call = (reason: string) =>
    `export const f = (db) => withSystem(db, ${reason}, (tx) => tx);\n`;
  const [listed] = SYSTEM_ACCESS;

  it('refuses a file that is not listed', async () => {
    expect(
      (await complaints('api/services/example.ts', call("'count rows'"))).join('\n'),
    ).toContain('system-access-sites.ts');
  });

  it.each(['reason', "''", '`because ${x}`'])('refuses the reason %s', async (reason) => {
    expect((await complaints('api/services/example.ts', call(reason))).join('\n')).toContain(
      'literal, non-empty reason',
    );
  });

  it.runIf(listed !== undefined)('allows a literal reason in a listed file', async () => {
    expect(await complaints(listed ?? '', call("'claim the next job'"))).toEqual([]);
  });
});

describe('house/one-transaction', () => {
  it.each([
    'withTenant(db, id, run)',
    'withSystem(db, "why", run)',
    'inOneStatement(db, run)',
    'connect(url, {})',
  ])('refuses %s inside a transaction', async (inner) => {
    const source = `export const f = () => withTenant(db, id, async (tx) => ${inner});\n`;
    expect((await complaints('sim/example.ts', source)).join('\n')).toContain(
      'house/one-transaction',
    );
  });

  it('allows one transaction after another', async () => {
    const source = `export const f = async () => {
      await withTenant(db, id, async (tx) => tx.a());
      await withTenant(db, id, async (tx) => tx.b());
    };\n`;
    expect(await complaints('sim/example.ts', source)).toEqual([]);
  });
});

describe('the whole configuration, with types', () => {
  it('refuses what the house has agreed to refuse, and only that', async () => {
    const source = `const numbers = new Float32Array(4);
const words: string[] = [];
export const first = numbers[0]!;
export const word = words[0]!;
export const anything: any = first;
async function later(): Promise<number> {
  return 1;
}
export function start(): void {
  later();
}
let sum = 0;
export async function add(): Promise<number> {
  sum += await later();
  return sum;
}
`;
    const folder = await mkdtemp(path.join(os.tmpdir(), 'armature-lint-'));
    await writeFile(path.join(folder, 'sample.ts'), source);
    const strict = { strict: true, noUncheckedIndexedAccess: true, target: 'es2022', types: [] };
    const settings = { compilerOptions: strict, include: ['*.ts'] };
    await writeFile(path.join(folder, 'tsconfig.json'), JSON.stringify(settings));
    const typed = new ESLint({
      cwd: folder,
      overrideConfigFile: true,
      overrideConfig: lintConfig(folder),
    });
    const [result] = await typed.lintFiles(['sample.ts']);
    await rm(folder, { recursive: true });
    expect(
      (result?.messages ?? []).map((message) => `${message.line} ${message.ruleId ?? 'parse'}`),
    ).toEqual([
      '4 house/checked-non-null',
      '5 @typescript-eslint/no-explicit-any',
      '10 @typescript-eslint/no-floating-promises',
      '14 no-restricted-syntax',
    ]);
  });
});

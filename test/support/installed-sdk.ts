import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { buildPackage } from '../../sdk/build/package.ts';

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What npm says of the tarball that it made. */
interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

export interface InstalledSdk {
  /** A project of a stranger that has installed the package: `package.json`, `node_modules`, nothing else. */
  readonly dir: string;
  readonly packed: Packed;
  /** Runs a program in the project, with this environment, PATH and an empty home alone. */
  run(
    program: string,
    args: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Promise<Ended>;
  remove(): Promise<void>;
}

/**
 * Builds the SDK, packs it and installs the tarball in an empty project outside of the workspace, with
 * npm's defaults, an empty cache and no network.
 */
export async function installSdk(): Promise<InstalledSdk> {
  const root = await mkdtemp(join(tmpdir(), 'armature-installed-'));
  const [built, dir] = [join(root, 'built'), join(root, 'robot')];
  const run: InstalledSdk['run'] = (program, args, environment = {}) =>
    runIn(dir, program, args, { HOME: root, ...environment });
  const npm = async (...args: string[]): Promise<string> => {
    const ended = await run('npm', [...args, '--offline', '--no-audit', '--no-fund', '--json']);
    if (ended.code !== 0) throw new Error(`npm ${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
    return ended.stdout;
  };
  await buildPackage(built);
  await mkdir(dir);
  await writeFile(join(dir, 'package.json'), '{ "type": "module", "private": true }\n');
  const [packed] = JSON.parse(await npm('pack', built, '--pack-destination', root)) as Packed[];
  if (packed === undefined) throw new Error('npm packed nothing');
  await npm('install', join(root, packed.filename));
  return { dir, packed, run, remove: () => rm(root, { recursive: true, force: true }) };
}

/** Bytes of all files beneath a folder. */
export async function bytesBeneath(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

function runIn(
  cwd: string,
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<Ended> {
  // npm and the command line are started by the Node that runs the tests.
  const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter);
  return new Promise((resolve, reject) => {
    execFile(program, args, { cwd, env: { PATH, ...environment } }, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
      else reject(new Error(`${program} did not run to its end`, { cause: error }));
    });
  });
}

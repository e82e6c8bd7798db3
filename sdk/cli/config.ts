import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { ArmatureError, fromZodError } from '../contract/index.ts';

/** Where the command line talks to, and with which key. */
export interface Access {
  readonly apiUrl: string;
  readonly apiKey: string;
  /** Where the two came from, for messages. */
  readonly from: string;
}

interface Source {
  readonly apiUrl: string | undefined;
  readonly apiKey: string | undefined;
  readonly from: string;
}

const fileSchema = z.looseObject({ apiUrl: z.string(), apiKey: z.string() });

/** The user's own configuration file. */
export function configPath(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config'), 'armature', 'config.json');
}

/** The environment; an empty variable counts as absent. */
export function environment(env = process.env): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
}

/**
 * Address and key: options, then ARMATURE_API_URL and ARMATURE_API_KEY, then what `armature login`
 * stored, then .armature/dev.json of a platform started in this folder. A key that was stored with an
 * address is sent to that address only.
 * @throws ArmatureError `invalid_request` without an address, `missing_key` without a key for it.
 */
export async function resolveAccess(
  options: { readonly apiUrl?: string | undefined; readonly apiKey?: string | undefined },
  env: NodeJS.ProcessEnv,
  cwd: string,
): Promise<Access> {
  const sources: Source[] = [
    { apiUrl: options.apiUrl, apiKey: options.apiKey, from: 'options' },
    { apiUrl: env['ARMATURE_API_URL'], apiKey: env['ARMATURE_API_KEY'], from: 'environment' },
    await fileSource(configPath(env)),
    await fileSource(join(cwd, '.armature', 'dev.json')),
  ];
  const place = sources.find((source) => source.apiUrl !== undefined);
  if (place?.apiUrl === undefined) {
    throw new ArmatureError('invalid_request', 'there is no address of a control plane', {
      field: 'api-url',
      fix: 'Run `armature login`, or set ARMATURE_API_URL and ARMATURE_API_KEY.',
    });
  }
  const { apiUrl } = place;
  const holder = sources.find(
    (source) =>
      source.apiKey !== undefined && (source.apiUrl === undefined || source.apiUrl === apiUrl),
  );
  if (holder?.apiKey === undefined) {
    throw new ArmatureError('missing_key', `there is no key for ${apiUrl}`, {
      field: 'api-key',
      fix: 'Run `armature login`, or set ARMATURE_API_KEY.',
    });
  }
  return { apiUrl, apiKey: holder.apiKey, from: holder.from };
}

/** Stores address and key for this user only. @returns the file's path. */
export async function storeAccess(
  access: { readonly apiUrl: string; readonly apiKey: string },
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const path = configPath(env);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const text = `${JSON.stringify({ apiUrl: access.apiUrl, apiKey: access.apiKey }, null, 2)}\n`;
  await writeFile(path, text, { mode: 0o600 });
  // The mode above holds for a new file only.
  await chmod(path, 0o600);
  return path;
}

async function fileSource(path: string): Promise<Source> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      return { apiUrl: undefined, apiKey: undefined, from: path };
    }
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ArmatureError('invalid_request', `${path} is not JSON`, {
      field: path,
      fix: 'Run `armature login` again.',
      cause,
    });
  }
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) throw fromZodError(parsed.error, 'invalid_request', path);
  return { ...parsed.data, from: path };
}

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ArmatureError } from '@armature/sdk/contract';

const ARMATURE = fileURLToPath(new URL('../../sdk/bin/armature.mjs', import.meta.url));

export interface Credentials {
  readonly apiUrl: string;
  readonly apiKey: string;
}

/**
 * Runs the command line as a customer would, in a process of its own, and returns what it prints.
 * @throws ArmatureError with what it complains of.
 */
export async function armature(
  { apiUrl, apiKey }: Credentials,
  words: readonly string[],
  signal: AbortSignal,
): Promise<unknown> {
  const env = { ARMATURE_API_URL: apiUrl, ARMATURE_API_KEY: apiKey, PATH: dirOfNode() };
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [ARMATURE, ...words, '--json'],
      { env, signal, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error === null) resolve(JSON.parse(stdout));
        else {
          const said = stderr.trim() === '' ? error.message : stderr.trim();
          reject(new ArmatureError('invalid_request', said, { cause: error }));
        }
      },
    );
  });
}

/** The command line needs nothing else of the environment. */
function dirOfNode(): string {
  return fileURLToPath(new URL('.', `file://${process.execPath}`));
}

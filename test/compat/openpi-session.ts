import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pythonIfHad } from './python-environment.ts';

/** The client as it is on PyPI, and a package that it imports and its metadata leaves out. */
const REQUIREMENTS = ['openpi-client==0.1.2', 'typing_extensions==4.15.0'];
const script = fileURLToPath(new URL('./openpi_client_session.py', import.meta.url));

/** What the published client saw of a policy: five replies, six steps of its broker, one refusal. */
export interface OpenpiOutcome {
  readonly metadata: Record<string, unknown>;
  readonly keys: string[][];
  readonly timings: string[][];
  readonly dtype: string;
  readonly shapes: number[][];
  readonly first: number[];
  readonly steps: number[][];
  readonly refused: string;
}

export type OpenpiClient = (
  endpoint: { readonly host: string; readonly port: number },
  /** Empty for none. */
  key: string,
  timeoutMs: number,
) => Promise<OpenpiOutcome>;

/** The published openpi-client; `undefined` as `pythonIfHad` has it. */
export async function openpiClientIfHad(): Promise<OpenpiClient | undefined> {
  const python = await pythonIfHad('openpi-client-0.1.2', REQUIREMENTS);
  if (python === undefined) return undefined;
  return async ({ host, port }, key, timeout) => {
    const args = [script, host, String(port), key];
    const { stdout } = await promisify(execFile)(python, args, { timeout });
    return JSON.parse(stdout) as OpenpiOutcome;
  };
}

import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Figure } from '../../result.ts';
import { quantile } from '../../timing.ts';

const API = new URL('../../../api/', import.meta.url);
/** Read beside the code when it starts. */
const DATA = ['metering/prices.json', 'metering/training-rates.json'];

/** A request as a function URL hands it over (payload 2.0). */
const event = (method: string, rawPath: string, key: string, body?: object): object => ({
  version: '2.0',
  routeKey: '$default',
  rawPath,
  rawQueryString: '',
  headers: {
    host: 'api.example.com',
    authorization: `Bearer ${key}`,
    'content-type': 'application/json',
  },
  requestContext: { http: { method, path: rawPath, sourceIp: '192.0.2.1' } },
  ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  isBase64Encoded: false,
});

/** Settings of a function over the database, with secrets of its own. */
function settings(databaseUrl: string, scratch: string) {
  const secret = (): string => randomBytes(32).toString('base64url');
  const { privateKey } = generateKeyPairSync('ed25519');
  const url = 'http://127.0.0.1:1';
  return {
    PUBLIC_URL: url,
    DATABASE_URL: databaseUrl,
    DATABASE_POOL: '1',
    PORT: '0',
    KEY_PEPPER: secret(),
    SEALING_KEYS: `bench:${secret()}`,
    PLATFORM_KEY: secret(),
    AUTH_SECRET: secret(),
    MAIL_KIND: 'none',
    SESSION_SIGNING_JWK: JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'bench' }),
    STORE_KIND: 'disk',
    STORE_ROOT: path.join(scratch, 'objects'),
    STORE_PUBLIC_URL: url,
    STORE_SECRET: secret(),
    LOG_LEVEL: 'error',
  };
}

/**
 * The API as one file of JavaScript, and a new process each time: from its start to the answer of its first request,
 * which looks a key up in the database, and what a second request of the same instance takes.
 */
export async function coldStarts(o: {
  readonly databaseUrl: string;
  readonly scratch: string;
  readonly count: number;
}): Promise<Figure[]> {
  const file = path.join(o.scratch, 'lambda.mjs');
  const { metafile } = await build({
    entryPoints: [fileURLToPath(new URL('lambda.ts', API))],
    outfile: file,
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    metafile: true,
    // Packages in CommonJS ask for modules of Node by `require`.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    logLevel: 'error',
  });
  const bytes = Object.values(metafile.outputs).reduce((sum, output) => sum + output.bytes, 0);
  for (const data of DATA)
    await copyFile(new URL(data, API), path.join(o.scratch, path.basename(data)));
  const script = path.join(o.scratch, 'invoke.mjs');
  await writeFile(script, invoke);
  const environment = { ...settings(o.databaseUrl, o.scratch), HANDLER: file };
  const platformKey = environment.PLATFORM_KEY;
  const made = await instance(
    script,
    environment,
    event('POST', '/v1/tenants', platformKey, { name: 'function' }),
  );
  const { secret } = JSON.parse(made.body) as { secret: string };
  const asked = event('GET', '/v1/tenant', secret);
  const times: Instance[] = [];
  for (let i = 0; i < o.count; i++) times.push(await instance(script, environment, asked));
  const cold = times.map(({ firstMs }) => firstMs);
  return [
    { name: 'function, one file', value: bytes / 1e6, unit: 'MB' },
    { name: 'function, cold start to first answer p50', value: quantile(cold, 0.5), unit: 'ms' },
    { name: 'function, cold start to first answer, slowest', value: quantile(cold, 1), unit: 'ms' },
    {
      name: 'function, next answer p50',
      value: quantile(
        times.map(({ nextMs }) => nextMs),
        0.5,
      ),
      unit: 'ms',
    },
  ];
}

interface Instance {
  readonly firstMs: number;
  readonly nextMs: number;
  readonly body: string;
}

/** A new process that answers the same request twice. @throws Error where it does not. */
async function instance(
  script: string,
  environment: Readonly<Record<string, string>>,
  asked: object,
): Promise<Instance> {
  const started = performance.now();
  const child = spawn(process.execPath, [script], {
    env: { ...environment, EVENT: JSON.stringify(asked) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  let firstMs = NaN;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (said === '') firstMs = performance.now() - started;
    said += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  const [status, body = '', nextMs] = said.split('\n');
  if (code !== 0 || status !== '200')
    throw new Error(`a function ended with ${String(code)}: ${said}`);
  return { firstMs, nextMs: Number(nextMs), body };
}

/** Says status and body of the first answer as soon as it is there, then the milliseconds of the second. */
const invoke = `
const { handler } = await import(process.env.HANDLER);
const event = JSON.parse(process.env.EVENT);
const { statusCode, body } = await handler(event, {});
process.stdout.write(statusCode + '\\n' + body + '\\n');
const started = performance.now();
await handler(event, {});
process.stdout.write(String(performance.now() - started), () => process.exit(0));
`;

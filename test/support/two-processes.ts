import { DiskStore } from '@armature/storage';
import { apiEnvironment, freePort, startApiProcess } from './api-process.ts';
import { signUp, type Browser } from './people.ts';
import { startRoundRobin } from './round-robin.ts';
import { STORE_SECRET } from './secrets.ts';
import { startSmtpReceiver } from './smtp.ts';

/** Requests from which on the first process is restarted, so that some are under way. */
const BEFORE_RESTART = 5;

export interface TwoProcesses {
  url: string;
  store: DiskStore;
  person(email: string): Promise<Browser>;
  /** @throws Error where a process was not asked, or the restart did not go well. */
  stop(): Promise<void>;
}

/** Whether test files that ask for an API get two processes behind a round robin in place of one app. */
export const wantsTwoProcesses = (): boolean => process.env['ARMATURE_TEST_API'] === 'two';

/**
 * Two API processes on a database and a folder of objects, behind a round robin; the first is told to
 * stop while requests are under way, and started again.
 */
export async function startTwoProcesses(o: {
  databaseUrl: string;
  storeRoot: string;
  requestBatch: number | undefined;
}): Promise<TwoProcesses> {
  const smtp = await startSmtpReceiver();
  const ports = [await freePort(), await freePort()] as const;
  let callers = 0;
  const balancer = await startRoundRobin(ports, () => {
    callers += 1;
    return `192.0.${Math.floor(callers / 250) % 250}.${callers % 250}`;
  });
  const environment = {
    ...apiEnvironment({ ...o, publicUrl: balancer.url }),
    TRUSTED_PROXIES: '127.0.0.1',
    MAIL_KIND: 'smtp',
    SMTP_URL: smtp.url,
    MAIL_FROM: 'no-reply@example.com',
    ...(o.requestBatch === undefined ? {} : { REQUEST_BATCH: String(o.requestBatch) }),
  };
  const [first, second] = ports;
  const held = {
    first: await startApiProcess(environment, first),
    second: await startApiProcess(environment, second),
    stopping: false,
  };
  const restarted = (async (): Promise<void> => {
    while (!held.stopping && (balancer.answered.get(first) ?? 0) < BEFORE_RESTART) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    balancer.leave(first);
    const code = await held.first.stop();
    if (code !== 0) throw new Error(`the API ended with ${String(code)}:\n${held.first.log()}`);
    held.first = await startApiProcess(environment, first);
    balancer.back(first);
  })();
  // Whoever stops is told.
  restarted.catch(() => undefined);
  return {
    url: balancer.url,
    store: new DiskStore({
      kind: 'disk',
      root: o.storeRoot,
      publicUrl: balancer.url,
      secret: STORE_SECRET,
    }),
    person: (email) => signUp(balancer.url, smtp, email),
    stop: async () => {
      held.stopping = true;
      await restarted;
      await Promise.all([held.first.stop(), held.second.stop()]);
      await balancer.close();
      await smtp.stop();
      const idle = ports.filter((port) => balancer.answered.get(port) === 0);
      if (idle.length > 0) throw new Error(`${idle.length} of two processes answered nothing`);
    },
  };
}

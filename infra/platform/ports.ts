import { createServer } from 'node:net';
import { z } from 'zod';
import { readJson, writeJson } from './json-file.ts';

const HOST = '127.0.0.1';

const portsSchema = z.strictObject({
  postgres: z.number().int(),
  api: z.number().int(),
  gateway: z.number().int(),
});
export type Ports = z.infer<typeof portsSchema>;

/** The ports of the last start where they are still free, else free ones; remembered in `file`. */
export async function choosePorts(file: string): Promise<Ports> {
  const last = readJson(file, portsSchema);
  const taken = new Set<number>();
  const choose = async (preferred: number | undefined): Promise<number> => {
    for (;;) {
      const port = await freePort(preferred);
      if (!taken.has(port)) {
        taken.add(port);
        return port;
      }
    }
  };
  const ports = {
    postgres: await choose(last?.postgres),
    api: await choose(last?.api),
    gateway: await choose(last?.gateway),
  };
  writeJson(file, ports);
  return ports;
}

/** `preferred` if nothing listens there, else a port that the system picks. */
async function freePort(preferred: number | undefined): Promise<number> {
  if (preferred !== undefined) {
    const port = await tryListen(preferred);
    if (port !== undefined) return port;
  }
  const port = await tryListen(0);
  if (port === undefined) throw new Error('the system has no free port on the loopback interface');
  return port;
}

function tryListen(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(undefined);
      else reject(error);
    });
    server.listen(port, HOST, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : undefined;
      server.close(() => resolve(bound));
    });
  });
}

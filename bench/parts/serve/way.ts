import { once } from 'node:events';
import { connect as connectSocket, createServer, type AddressInfo, type Socket } from 'node:net';
import type { SessionGrant } from '@armature/sdk/contract';
import type { Figure } from '../../result.ts';
import { latencyFigures } from '../../timing.ts';
import { connect, leave, seen, type Served } from './fleet.ts';

/** A way to the worker that counts what goes up, and can be cut. */
class Way {
  /** Bytes from the robots to the worker. */
  up = 0;
  private readonly open = new Set<Socket>();
  private readonly server = createServer((robot) => this.join(robot));
  private target: { readonly host: string; readonly port: number } | undefined;

  static async start(): Promise<Way> {
    const way = new Way();
    way.server.listen(0, '127.0.0.1');
    await once(way.server, 'listening');
    return way;
  }

  /** The grant with this way in place of the straight one. */
  readonly route = (grant: SessionGrant): SessionGrant => {
    const url = new URL(grant.url);
    this.target = { host: url.hostname, port: Number(url.port) };
    url.host = `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    return { ...grant, url: url.href };
  };

  /** Breaks every connection off. */
  cut(): void {
    for (const socket of this.open) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private join(robot: Socket): void {
    if (this.target === undefined) throw new Error('no grant went this way yet');
    const worker = connectSocket(this.target);
    for (const [socket, other] of [
      [robot, worker],
      [worker, robot],
    ] as const) {
      this.open.add(socket);
      socket.setNoDelay(true);
      // Its end is told by `close`, whatever broke it off.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.open.delete(socket);
        other.destroy();
      });
    }
    robot.on('data', (data) => (this.up += data.length));
    robot.pipe(worker);
    worker.pipe(robot);
  }
}

/** What one observation weighs, and how long a robot is without chunks when its connection breaks. */
export async function theWay(served: Served, cuts: number): Promise<Figure[]> {
  const way = await Way.start();
  const robot = await connect(served, { reasoning: 'off', route: way.route });
  const weigh = async (how: 'jpeg' | 'pixels'): Promise<number> => {
    await robot.act(seen(served, how));
    const before = way.up;
    await robot.act(seen(served, how));
    return way.up - before;
  };
  const [jpeg, raw] = [await weigh('jpeg'), await weigh('pixels')];
  const gaps: number[] = [];
  for (let i = 0; i < cuts; i++) {
    const started = performance.now();
    way.cut();
    // The robot may learn of the cut by a question that it breaks off.
    while (!(await robot.act(seen(served)).then(Boolean, () => false)));
    gaps.push(performance.now() - started);
  }
  await leave(served, robot);
  await way.close();
  return [
    { name: 'observation as JPEG', value: jpeg / 1000, unit: 'kB' },
    { name: 'observation as raw pixels', value: raw / 1000, unit: 'kB' },
    ...latencyFigures('connection broken, next chunk', gaps),
  ];
}

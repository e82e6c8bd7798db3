import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** `before`: what was sent did not arrive; `after`: it arrived, its answer did not. */
export type Cut = 'before' | 'after';

/**
 * Stands between a client and a server on loopback and passes on what they say, but for one piece of the client's,
 * counted from 1 over all of its connections: there that connection is lost, for both of them.
 */
export class CuttingProxy {
  private readonly server: Server;
  private readonly open = new Set<Socket>();
  private at = 0;
  private how: Cut = 'before';
  private met = 0;

  private constructor(target: number) {
    this.server = createServer((client) => this.pass(client, connect(target, '127.0.0.1')));
  }

  /** @param target the server's port */
  static async to(target: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(target);
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Pieces that the client has sent since the last `cut`. */
  get pieces(): number {
    return this.met;
  }

  /** @param at the piece, counted from now; 0 cuts nothing. */
  cut(at: number, how: Cut): void {
    this.at = at;
    this.how = how;
    this.met = 0;
  }

  async close(): Promise<void> {
    for (const socket of this.open) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private pass(client: Socket, server: Socket): void {
    const end = (): void => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.open.add(socket);
      // A lost connection is what this is for.
      socket.on('error', end);
      socket.on('close', () => {
        this.open.delete(socket);
        end();
      });
    }
    server.on('data', (piece) => client.write(piece));
    client.on('data', (piece) => {
      this.met += 1;
      if (this.met !== this.at) server.write(piece);
      else if (this.how === 'before') end();
      else {
        client.destroy();
        server.removeAllListeners('data');
        server.resume();
        server.end(piece);
      }
    });
  }
}

import { Resolver } from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import ipaddr from 'ipaddr.js';

/** An address that no message may go to; what is said of it is shown to the tenant. */
export class ReceiverRefused extends Error {
  override readonly name = 'ReceiverRefused';
}

export interface PostOptions {
  readonly url: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Longest wait for the address and the whole answer, ms. */
  readonly timeoutMs: number;
  /** Development alone: http, and the machine's own loopback addresses. */
  readonly allowLoopback: boolean;
  /** Addresses of a host's name; the system's name servers' unless told. */
  readonly resolve?: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
  readonly signal?: AbortSignal;
}

/** Of an answer no more is read than this, bytes. */
const MOST_READ = 65_536;

/**
 * Posts to an address that a stranger has chosen. The name is resolved once; where any of its addresses
 * is not public, nothing is sent, and the connection goes to the address that was looked at, so that no
 * second answer of the resolver can lead elsewhere. Redirects are answers like others.
 * @throws ReceiverRefused; or the error of the connection.
 */
export async function postSafely(o: PostOptions): Promise<{ status: number }> {
  const url = new URL(o.url);
  if (url.protocol !== 'https:' && !(o.allowLoopback && url.protocol === 'http:')) {
    throw new ReceiverRefused('the address is not https');
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const timeout = AbortSignal.timeout(o.timeoutMs);
  const signal = o.signal === undefined ? timeout : AbortSignal.any([timeout, o.signal]);
  const addresses = ipaddr.isValid(host) ? [host] : await (o.resolve ?? resolveHost)(host, signal);
  const [address] = addresses;
  if (address === undefined) throw new ReceiverRefused('the host has no address');
  for (const each of addresses) {
    if (!isAllowed(each, o.allowLoopback)) {
      throw new ReceiverRefused('the host has an address that is not public');
    }
  }
  const family = ipaddr.parse(address).kind() === 'ipv6' ? 6 : 4;
  const request = url.protocol === 'https:' ? https.request : http.request;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        method: 'POST',
        headers: { ...o.headers, 'content-length': String(Buffer.byteLength(o.body)) },
        // Not the shared agent, whose open connections were looked at for other messages.
        agent: false,
        lookup: (_host, options, done) => {
          if (options.all === true) done(null, [{ address, family }]);
          else done(null, address, family);
        },
        signal,
      },
      (answer) => {
        let read = 0;
        const end = (): void => resolve({ status: answer.statusCode ?? 0 });
        answer.on('data', (piece: Buffer) => {
          read += piece.length;
          if (read <= MOST_READ) return;
          end();
          answer.destroy();
        });
        answer.on('end', end);
        answer.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    // Such an answer is none otherwise, and its connection is the request's no more.
    outgoing.on('upgrade', (answer, socket) => {
      socket.destroy();
      resolve({ status: answer.statusCode ?? 0 });
    });
    // Whatever becomes of the request, the wait for it ends.
    signal.addEventListener('abort', () => reject(toError(signal.reason)), { once: true });
    outgoing.end(o.body);
  });
}

/** Public unicast alone: no private, loopback, link-local, shared, mapped, translated or reserved one. */
export function isAllowed(address: string, allowLoopback: boolean): boolean {
  // An IPv4 address in IPv6 clothes is judged as what it is.
  const range = ipaddr.process(address).range();
  return range === 'unicast' || (allowLoopback && range === 'loopback');
}

/**
 * Asks name servers itself: the system's `getaddrinfo` cannot be given up, and holds one of the few threads that
 * files are read on until it has an answer.
 * @param servers addresses with ports, the system's unless told
 * @throws the reason of `signal`; Error when no server knows an address.
 */
export async function resolveHost(
  host: string,
  signal: AbortSignal,
  servers?: readonly string[],
): Promise<string[]> {
  // RFC 6761: never asked for.
  if (/(^|\.)localhost\.?$/i.test(host)) return ['127.0.0.1'];
  const resolver = new Resolver();
  if (servers !== undefined) resolver.setServers(servers);
  const giveUp = (): void => resolver.cancel();
  signal.throwIfAborted();
  signal.addEventListener('abort', giveUp);
  try {
    const [four, six] = await Promise.allSettled([
      resolver.resolve4(host),
      resolver.resolve6(host),
    ]);
    signal.throwIfAborted();
    const addresses = [four, six].flatMap((answer) =>
      answer.status === 'fulfilled' ? answer.value : [],
    );
    if (addresses.length > 0 || four.status === 'fulfilled') return addresses;
    throw toError(four.reason);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

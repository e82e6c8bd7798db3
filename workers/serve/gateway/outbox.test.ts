import { parseServerFrame } from '@armature/sdk/contract';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { Outbox } from './outbox.ts';

/** The part of a socket that an outbox uses, with a reader that takes what it is told to. */
function slowSocket() {
  const state = { bufferedAmount: 0, closed: 0 };
  const sent: string[] = [];
  const done: (() => void)[] = [];
  const socket = {
    readyState: WebSocket.OPEN,
    OPEN: WebSocket.OPEN,
    get bufferedAmount() {
      return state.bufferedAmount;
    },
    send: (bytes: Uint8Array, _: object, callback: () => void) => {
      state.bufferedAmount += bytes.length;
      sent.push(parseServerFrame(bytes).type);
      done.push(callback);
    },
    close: (code: number) => (state.closed = code),
  };
  return { state, sent, done, outbox: new Outbox(socket as unknown as WebSocket), socket };
}

const loading = { type: 'loading', message: 'x' } as const;
function chunk(log: string[], name: string) {
  return { send: () => log.push(`sent ${name}`), drop: () => log.push(`dropped ${name}`) };
}

describe('Outbox', () => {
  it('sends at once to a reader that keeps up', () => {
    const { outbox } = slowSocket();
    const log: string[] = [];
    outbox.offer(chunk(log, 'a'));
    outbox.offer(chunk(log, 'b'));
    expect(log).toEqual(['sent a', 'sent b']);
  });

  it('holds the newest chunk for a reader that is behind, and sends it when it has caught up', () => {
    const { outbox, state, done } = slowSocket();
    const log: string[] = [];
    outbox.send(loading);
    state.bufferedAmount = 1 << 20;
    for (const name of ['a', 'b', 'c']) outbox.offer(chunk(log, name));
    expect(log).toEqual(['dropped a', 'dropped b']);
    state.bufferedAmount = 0;
    done[0]!();
    expect(log).toEqual(['dropped a', 'dropped b', 'sent c']);
  });

  it('gives up on a reader that takes nothing', () => {
    const { outbox, state, sent } = slowSocket();
    state.bufferedAmount = 5 << 20;
    outbox.send(loading);
    expect(state.closed).toBe(1013);
    expect(sent).toEqual([]);
  });

  it('drops what it holds when the socket goes, and takes nothing afterwards', () => {
    const { outbox, state, socket } = slowSocket();
    const log: string[] = [];
    state.bufferedAmount = 1 << 20;
    outbox.offer(chunk(log, 'a'));
    outbox.close();
    Object.assign(socket, { readyState: WebSocket.CLOSED });
    outbox.offer(chunk(log, 'b'));
    expect(log).toEqual(['dropped a', 'dropped b']);
  });
});

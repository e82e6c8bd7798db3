import { EventEmitter } from 'node:events';
import { encodeFrame } from '@armature/sdk/contract';
import { expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { systemClock } from '../clock.ts';
import { silent } from '../ledger/testing/entries.ts';
import { serveMetrics } from '../metrics.ts';
import { claimsFor } from '../testing/robots.ts';
import { Connection, type ConnectionDeps } from './connection.ts';

it('a token that is found good when its socket has closed starts no clock', async () => {
  const socket = Object.assign(new EventEmitter(), {
    OPEN: 1,
    readyState: 3,
    close: () => undefined,
  });
  const token = { claims: claimsFor(), expiresAt: Date.now() + 60_000 };
  let verified = (): void => undefined;
  let clocks = 0;
  const deps = {
    clock: systemClock,
    metrics: serveMetrics(),
    log: silent,
    verify: () => new Promise((resolve) => (verified = () => resolve(token))),
    after: () => {
      clocks += 1;
      return () => (clocks -= 1);
    },
    dispatcher: { withdraw: () => undefined },
    policies: { progress: () => 'waiting' },
    capacity: { refusal: () => 'no engine' },
  } as unknown as ConnectionDeps;
  new Connection(socket as unknown as WebSocket, token, deps, () => undefined);
  expect(clocks).toBe(1);
  socket.emit('message', Buffer.from(encodeFrame({ type: 'refresh', token: 'later' })), true);
  socket.emit('close', 1006);
  expect(clocks).toBe(0);
  verified();
  await new Promise((resolve) => setImmediate(resolve));
  expect(clocks).toBe(0);
});

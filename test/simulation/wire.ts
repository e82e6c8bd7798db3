import { EventEmitter } from 'node:events';
import { decodeFrame } from '@armature/sdk/contract';
import type { WebSocket } from 'ws';
import type { RobotSocket, SocketEvents } from '../../sdk/src/robot/socket.ts';
import type { Network } from './network.ts';
import type { SimClock } from './sim-clock.ts';

/** What is looked at of a worker's frame on its way. */
export interface SeenFrame {
  readonly type: string;
  readonly code?: string;
  readonly message?: string;
  readonly chunk_id?: string;
  readonly epoch?: number;
}

export interface WireOptions {
  readonly clock: SimClock;
  readonly up: Network;
  readonly down: Network;
  readonly events: SocketEvents;
  /** Told of every frame that the worker sends. */
  readonly onSent: (end: WorkerEnd, frame: SeenFrame) => void;
  /** Takes a chunk that arrives when its own socket has gone; says whether anybody was there. */
  readonly stray: (bytes: Uint8Array) => boolean;
  /** Told of every copy of a chunk that reaches an open socket of the robot, before the robot is. */
  readonly onReached?: (chunkId: string) => void;
  /** Told of every refusal that reaches it. */
  readonly onRefusal?: () => void;
  /** Told of every chunk that the network loses. */
  readonly onLost?: (chunkId: string) => void;
}

/** After so long an end that closes gives the other up, which says nothing, ms. */
const CLOSING_MS = 30_000;
/** `readyState` of a socket that has ended. */
export const CLOSED = 3;

/** The worker's end of a socket, as much of `ws` as the gateway uses. */
export class WorkerEnd extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  readonly bufferedAmount = 0;
  private readonly wire: Wire;

  constructor(wire: Wire) {
    super();
    this.wire = wire;
  }

  get asWebSocket(): WebSocket {
    return this as unknown as WebSocket;
  }

  send(bytes: Uint8Array): void {
    if (this.readyState === this.OPEN) this.wire.fromWorker(bytes);
  }

  close(code: number, reason: string): void {
    if (this.readyState !== this.OPEN) return;
    this.readyState = 2;
    this.wire.closedByWorker(code, reason);
  }

  terminate(): void {
    this.wire.cut();
  }

  gone(code: number): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.emit('close', code);
  }
}

/**
 * One socket between a robot and a worker. Observations and chunks travel on a network that is worse
 * than TCP, so that what pairs and ages them is tried harder; the rest as TCP would carry it.
 */
export class Wire {
  readonly end = new WorkerEnd(this);
  private readonly options: WireOptions;
  private robotOpen = true;
  private isDialled = false;
  private isDark = false;

  constructor(options: WireOptions) {
    this.options = options;
  }

  get isOpen(): boolean {
    return this.robotOpen;
  }

  /** The robot hears that its socket is open; from here on it is told when that ends. */
  dialled(): void {
    this.isDialled = true;
  }

  /** The robot's end. */
  get socket(): RobotSocket {
    return {
      unsent: 0,
      send: (frame) => {
        if (!this.robotOpen) return false;
        this.fromRobot(frame);
        return true;
      },
      close: (code) => {
        const wasOpen = this.robotOpen;
        this.robotOpen = false;
        if (this.isDark) {
          this.options.clock.after(CLOSING_MS, () => this.options.events.close(1006, ''));
          return;
        }
        this.options.up.sendInOrder(() => {
          this.end.gone(code);
          if (wasOpen) this.options.down.sendInOrder(() => this.options.events.close(code, ''));
        });
      },
    };
  }

  fromWorker(bytes: Uint8Array): void {
    const { down, events, onSent, onRefusal, onLost } = this.options;
    const frame = seen(bytes);
    onSent(this.end, frame);
    if (this.isDark) {
      if (frame.type === 'chunk') onLost?.(frame.chunk_id ?? '');
      return;
    }
    if (frame.type !== 'chunk') {
      down.sendInOrder(() => {
        if (!this.robotOpen) return;
        if (frame.type === 'error') onRefusal?.();
        events.message(bytes);
      });
      return;
    }
    const id = frame.chunk_id ?? '';
    const copies = down.send(() => this.reach(id, bytes));
    if (copies === 0) onLost?.(id);
  }

  /** A copy of a chunk is there. */
  private reach(id: string, bytes: Uint8Array): void {
    const { events, stray, onReached } = this.options;
    const told = this.robotOpen;
    if (told) onReached?.(id);
    if (told) events.message(bytes);
    else if (stray(bytes)) onReached?.(id);
  }

  closedByWorker(code: number, reason: string): void {
    const { up, down, clock } = this.options;
    if (this.isDark) {
      clock.after(CLOSING_MS, () => this.end.gone(1006));
      return;
    }
    down.sendInOrder(() => {
      this.robotGone(code, reason);
      up.sendInOrder(() => this.end.gone(code));
    });
  }

  /** The link breaks: both ends know at once. */
  cut(): void {
    this.end.gone(1006);
    this.robotGone(1006, 'cut');
  }

  /** From here on nothing passes, either way, and neither end is told. */
  goDark(): void {
    this.isDark = true;
  }

  /** The worker's process is no more; its machine says so to the robot. */
  died(): void {
    this.end.gone(1006);
    this.options.down.sendInOrder(() => this.robotGone(1006, 'reset'));
  }

  private robotGone(code: number, reason: string): void {
    if (!this.robotOpen) return;
    this.robotOpen = false;
    if (this.isDialled) this.options.events.close(code, reason);
  }

  private fromRobot(bytes: Uint8Array): void {
    const { up } = this.options;
    if (this.isDark) return;
    const deliver = (): void => {
      if (this.end.readyState === 1) {
        this.end.emit('message', Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), true);
      }
    };
    if (beginning(bytes).includes('observation')) up.send(deliver);
    else up.sendInOrder(deliver);
  }
}

/** The beginning of a frame, which has its type first: decoding the whole costs as much as serving it. */
function beginning(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(96, bytes.length)).toString('latin1');
}

function seen(bytes: Uint8Array): SeenFrame {
  const start = beginning(bytes);
  const type = /^..type.([a-z]+)/su.exec(start)?.[1] ?? '';
  if (type === 'error') return decodeFrame(bytes) as SeenFrame;
  const id = type === 'chunk' ? /ses_\d+:(\d+):\d+/u.exec(start) : null;
  return id === null ? { type } : { type, chunk_id: id[0], epoch: Number(id[1]) };
}

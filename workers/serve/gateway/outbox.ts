import { encodeFrame, type ServerFrame } from '@armature/sdk/contract';
import type { WebSocket } from 'ws';

/** Bytes waiting for a slow reader from which on a chunk waits too, the newest only. */
const HOLD_BYTES = 128 << 10;
/** Bytes waiting from which on the reader counts as gone. */
const GIVE_UP_BYTES = 4 << 20;

export interface HeldChunk {
  /** Sends the chunk now. */
  send(): void;
  /** A newer one took its place, or the socket went. */
  drop(): void;
}

/** What goes out on one socket. A slow reader gets the newest chunk, not a queue of old ones. */
export class Outbox {
  private readonly socket: WebSocket;
  private held: HeldChunk | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
  }

  /** Sends a frame; a socket that is closed takes none. */
  send(frame: ServerFrame): void {
    if (this.socket.readyState !== this.socket.OPEN) return;
    if (this.socket.bufferedAmount > GIVE_UP_BYTES) {
      this.socket.close(1013, 'the robot does not read');
      return;
    }
    this.socket.send(encodeFrame(frame), { binary: true }, () => this.release());
  }

  /** Sends a chunk now, or holds it while the reader is behind, in place of the one held before. */
  offer(chunk: HeldChunk): void {
    if (this.socket.readyState !== this.socket.OPEN) {
      chunk.drop();
    } else if (this.socket.bufferedAmount > HOLD_BYTES) {
      this.held?.drop();
      this.held = chunk;
    } else {
      chunk.send();
    }
  }

  /** The socket is gone. */
  close(): void {
    this.held?.drop();
    this.held = undefined;
  }

  private release(): void {
    if (this.held === undefined || this.socket.bufferedAmount > HOLD_BYTES) return;
    const chunk = this.held;
    this.held = undefined;
    chunk.send();
  }
}

import type { ServerFrame } from '@armature/sdk/contract';
import type { Clock } from '../clock.ts';
import type { ImagePool } from '../images/index.ts';
import type { Ledger } from '../ledger/index.ts';
import type { ServeMetrics } from '../metrics.ts';
import type {
  ActRow,
  PolicyPort,
  PolicyRegistry,
  Reasoning,
  WarmShapes,
} from '../policies/index.ts';
import type { Capacity, Dispatcher } from '../scheduler/index.ts';

export interface RowResult {
  /** f32 [H, A]; absent where only a reasoning was asked for. */
  readonly actions: Float32Array | undefined;
  readonly reasoning: Reasoning | undefined;
}

/** What every session of this worker shares. */
export interface SessionDeps {
  /** Name of this worker. */
  readonly worker: string;
  readonly clock: Clock;
  readonly policies: PolicyRegistry;
  readonly warm: Pick<WarmShapes, 'admit'>;
  readonly runtime: Pick<PolicyPort, 'batchKey' | 'pulledBack' | 'refusalOf'>;
  readonly images: Pick<ImagePool, 'prepare'>;
  readonly dispatcher: Dispatcher<ActRow, RowResult>;
  readonly capacity: Pick<Capacity, 'refusal' | 'hold' | 'rowCost'>;
  readonly ledger: Pick<Ledger, 'append' | 'epochs' | 'refusal'>;
  readonly metrics: ServeMetrics;
  readonly log: SessionLog;
}

/** The part of a pino logger that sessions use. */
export interface SessionLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Where a session's frames go, whatever carries them. */
export interface SessionOutlet {
  send(frame: ServerFrame): void;
  /** Sends a chunk now, or later if the robot reads slowly, or never if a newer one comes first. */
  offer(chunk: { send(): void; drop(): void }): void;
}

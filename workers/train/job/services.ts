import type { FinetuneOptions } from '@armature/sdk/contract';
import type { Dataset, Episode, Label } from '@armature/datasets';
import type { Db } from '@armature/db';
import type { ObjectStore } from '@armature/storage';
import type { Logger } from 'pino';
import type { FinetuneInput } from './input.ts';
import type { Workshop } from './workshop.ts';

/** Writes labels for an episode that has none; throws ArmatureError where it cannot. */
export type Annotate = (
  how: FinetuneOptions['labels'],
  episode: Episode,
  dataset: Dataset,
  input: FinetuneInput,
  signal: AbortSignal,
) => Promise<readonly Label[]>;

/** What a job needs of the process that runs it. */
export interface JobServices {
  readonly db: Db;
  readonly store: ObjectStore;
  readonly log: Logger;
  /** A monotonic clock, milliseconds. */
  readonly nowMs: () => number;
  readonly openWorkshop: () => Promise<Workshop>;
  readonly annotate: Annotate;
  /** Folder of the decoded pictures. */
  readonly cacheDir: string;
  /** Threads that decode pictures. */
  readonly threads: number;
  /** Time between two heartbeats, well below the lease. */
  readonly beatMs: number;
  readonly checkpointEveryS: number;
}

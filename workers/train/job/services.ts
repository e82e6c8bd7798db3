import type { VisionEndpoint } from '@armature/datasets';
import type { Db } from '@armature/db';
import type { CodeVersion } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';
import type { Logger } from 'pino';
import type { Workshop } from './workshop.ts';

/** What a job needs of the process that runs it. */
export interface JobServices {
  readonly db: Db;
  readonly store: ObjectStore;
  readonly log: Logger;
  /** A monotonic clock, milliseconds. */
  readonly nowMs: () => number;
  readonly openWorkshop: () => Promise<Workshop>;
  /** Where labels by vision come from; null where none is configured. */
  readonly vision: VisionEndpoint | null;
  /** Folder of the decoded pictures. */
  readonly cacheDir: string;
  /** Threads that decode pictures. */
  readonly threads: number;
  /** Time between two heartbeats, well below the lease. */
  readonly beatMs: number;
  readonly checkpointEveryS: number;
  /** What this process trains with. */
  readonly code: CodeVersion;
}

import type { Db, Sealing } from '@armature/db';
import type { ObjectStore } from '@armature/storage';

export interface SweepServices {
  readonly db: Db;
  readonly store: ObjectStore;
  readonly sealing: Sealing;
  readonly clock: () => Date;
}

/** Something that has to be done again and again for every tenant, and does no harm when done twice. */
export interface Sweep {
  /** Stands in the queue and the log. */
  readonly name: string;
  /** Once in each period of this many seconds. */
  readonly everyS: number;
  /** What was done for one tenant, as a count. */
  readonly forTenant: (tenant: string, services: SweepServices) => Promise<number>;
}

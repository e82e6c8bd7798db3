import { PolicyError } from '@armature/policy/runtime';
import { ArmatureError } from '@armature/sdk/contract';
import type { FetchedPolicy, PolicyRef } from './fetch-policy.ts';
import type { PolicyHandle, PolicyManifest, PolicyPort } from './port.ts';

/** A version that is loaded. */
export interface LoadedPolicy {
  readonly digest: string;
  readonly handle: PolicyHandle;
  readonly manifest: PolicyManifest;
}

/** A loaded version that stays loaded until `release`. */
export interface PolicyLease {
  readonly policy: LoadedPolicy;
  release(): void;
}

export interface PolicyRegistryOptions {
  readonly runtime: Pick<PolicyPort, 'load' | 'unload'>;
  readonly fetch: (ref: PolicyRef) => Promise<FetchedPolicy>;
  /** Versions held at once. */
  readonly capacity: number;
  readonly onLoaded?: (load: { readonly digest: string; readonly ms: number }) => void;
  readonly onError: (error: unknown, digest: string) => void;
}

interface Entry {
  readonly loading: Promise<LoadedPolicy>;
  readonly progress: { readonly message: string };
  pins: number;
  loaded: LoadedPolicy | undefined;
}

/**
 * The policy versions of this worker. A version is fetched and loaded once however many sessions
 * ask for it (by digest: the same bytes whoever's they are), stays while a session is open, and then
 * until the room is needed, least recently used first.
 */
export class PolicyRegistry {
  private readonly options: PolicyRegistryOptions;
  /** Least recently used first. */
  private readonly entries = new Map<string, Entry>();

  constructor(options: PolicyRegistryOptions) {
    this.options = options;
  }

  /** Versions that are loaded or loading, and how many of them sessions hold. */
  get counts(): { readonly held: number; readonly pinned: number } {
    const pinned = [...this.entries.values()].filter((entry) => entry.pins > 0).length;
    return { held: this.entries.size, pinned };
  }

  /** Where a version's loading stands, for people. */
  progress(digest: string): string {
    return this.entries.get(digest)?.progress.message ?? 'waiting';
  }

  /**
   * Pins a version, loading it where it is not there.
   * @throws ArmatureError `unavailable` when sessions hold every place; what fetching and loading
   * throw, with the model's own refusals as `incompatible_policy`. A failure is not remembered.
   */
  async acquire(ref: PolicyRef): Promise<PolicyLease> {
    const entry = this.entries.get(ref.digest) ?? this.begin(ref);
    entry.pins += 1;
    let held = true;
    const release = () => {
      if (!held) return;
      held = false;
      entry.pins -= 1;
      // Most recently used goes last; one that failed to load is no longer there.
      if (this.entries.get(ref.digest) !== entry) return;
      this.entries.delete(ref.digest);
      this.entries.set(ref.digest, entry);
    };
    try {
      return { policy: await entry.loading, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  private begin(ref: PolicyRef): Entry {
    const room = this.entries.size < this.options.capacity ? undefined : this.idle();
    if (room === undefined && this.entries.size >= this.options.capacity) {
      throw new ArmatureError('unavailable', 'sessions hold every policy place of this worker', {
        field: 'policy',
        fix: 'Connect again in a moment.',
      });
    }
    if (room !== undefined) this.entries.delete(room.digest);
    const progress = { message: 'waiting' };
    const loading = this.load(ref, room, progress);
    const entry: Entry = { loading, progress, pins: 0, loaded: undefined };
    this.entries.set(ref.digest, entry);
    entry.loading.then(
      (loaded) => (entry.loaded = loaded),
      () => this.entries.delete(ref.digest),
    );
    return entry;
  }

  /** The least recently used version that nobody holds. */
  private idle(): LoadedPolicy | undefined {
    return [...this.entries.values()].find(
      (entry) => entry.pins === 0 && entry.loaded !== undefined,
    )?.loaded;
  }

  private async load(
    ref: PolicyRef,
    evicted: LoadedPolicy | undefined,
    progress: { message: string },
  ): Promise<LoadedPolicy> {
    const { runtime, fetch, onLoaded, onError } = this.options;
    const started = performance.now();
    const { digest } = ref;
    try {
      if (evicted !== undefined) await runtime.unload(evicted.handle);
      progress.message = 'fetching the policy';
      const { manifest, files } = await fetch(ref);
      progress.message = 'loading the policy';
      const handle = await runtime.load({ digest, manifest, files });
      progress.message = 'warming the policy';
      onLoaded?.({ digest, ms: performance.now() - started });
      return { digest, handle, manifest };
    } catch (error) {
      onError(error, digest);
      throw asRefusal(error, ref);
    }
  }
}

function asRefusal(error: unknown, ref: PolicyRef): ArmatureError {
  if (error instanceof ArmatureError) return error;
  if (error instanceof PolicyError && error.code !== 'no_slot') {
    return new ArmatureError('incompatible_policy', `${ref.versionId}: ${error.message}`, {
      field: 'policy',
      fix: 'Deploy another version of this embodiment.',
      cause: error,
    });
  }
  return new ArmatureError('unavailable', `${ref.versionId} could not be loaded`, {
    field: 'policy',
    fix: 'Connect again in a moment.',
    cause: error,
  });
}

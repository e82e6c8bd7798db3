import { ArmatureError, type EmbodimentSpec } from '@armature/sdk/contract';
import {
  FrameCache,
  fromStore,
  openDataset,
  withoutEpisodes,
  type Dataset,
} from '@armature/datasets';
import type { ObjectStore } from '@armature/storage';
import type { Demonstration } from '../job/workshop.ts';
import type { Labeller } from './labels.ts';

export interface OpenOptions {
  readonly store: ObjectStore;
  readonly dataset: {
    readonly id: string;
    readonly prefix: string;
    /** Episodes that the set was accepted without. */
    readonly without: readonly number[];
  };
  /** Field of the fine-tune that names the set, for errors. */
  readonly field: string;
  readonly spec: EmbodimentSpec;
  /** Only the first n episodes. */
  readonly maxEpisodes: number | undefined;
  /** `blank` replaces every picture by zeros; nothing is decoded then. */
  readonly images: 'use' | 'blank';
  readonly cacheDir: string;
  readonly size: { readonly width: number; readonly height: number };
  readonly preprocessModule: URL;
  readonly preprocessHash: string;
  /** Decoding threads. */
  readonly threads: number;
  /** Labels episodes that have no labels of their own. */
  readonly labeller: Labeller;
  /** Share of the pictures that are decoded, 0 to 1. */
  readonly onProgress: (share: number) => void;
  readonly signal: AbortSignal;
}

export interface Demonstrations {
  readonly episodes: readonly Demonstration[];
  close(): void;
}

/**
 * Opens a data set of the object store for training or evaluation: numbers in memory, pictures
 * decoded once into the cache at the model's size, the set's own labels or the annotator's.
 *
 * @throws ArmatureError empty_dataset, embodiment_mismatch, invalid_dataset, cancelled.
 */
export async function openDemonstrations(o: OpenOptions): Promise<Demonstrations> {
  const dataset = await openDataset(fromStore(o.store, o.dataset.prefix));
  try {
    return await readDemonstrations(withoutEpisodes(dataset, o.dataset.without), o);
  } finally {
    await dataset.close();
  }
}

async function readDemonstrations(dataset: Dataset, o: OpenOptions): Promise<Demonstrations> {
  const wanted = dataset.episodes.slice(0, o.maxEpisodes).map(({ index }) => index);
  if (wanted.length === 0) {
    throw new ArmatureError('empty_dataset', `data set ${o.dataset.id} has no episodes`, {
      field: o.field,
      fix: 'Upload a set with at least two episodes.',
    });
  }
  assertFits(dataset, o);
  const cache = o.images === 'blank' ? null : await cachePictures(dataset, wanted, o);
  const black = new Uint8Array(o.size.width * o.size.height * 3);
  const episodes: Demonstration[] = [];
  for (const index of wanted) {
    o.signal.throwIfAborted();
    const episode = await dataset.readEpisode(index);
    const labels =
      episode.labels.length > 0 ? episode.labels : await o.labeller.label(episode, dataset);
    episodes.push({
      index,
      length: episode.length,
      instruction: episode.instruction,
      state: episode.state,
      action: episode.action,
      labels,
      image: (camera, t) => (cache === null ? black : cache.frame(index, camera, t)),
    });
  }
  await o.labeller.save();
  return { episodes, close: () => cache?.close() };
}

async function cachePictures(
  dataset: Dataset,
  episodes: readonly number[],
  o: OpenOptions,
): Promise<FrameCache> {
  return FrameCache.build(dataset, {
    dir: o.cacheDir,
    size: o.size,
    preprocessModule: o.preprocessModule,
    // The files of a set that is ready never change, so its id names its content.
    key: `${o.dataset.id}\n${o.preprocessHash}`,
    episodes,
    cameras: o.spec.cameras.map(({ name }) => name),
    workers: o.threads,
    onProgress: o.onProgress,
    signal: o.signal,
  });
}

function assertFits(dataset: Dataset, o: OpenOptions): void {
  const counts = [
    { what: 'state', has: dataset.stateNames.length, wants: o.spec.state.length },
    { what: 'action', has: dataset.actionNames.length, wants: o.spec.action.length },
  ];
  for (const { what, has, wants } of counts) {
    if (has === wants) continue;
    throw new ArmatureError(
      'embodiment_mismatch',
      `data set ${o.dataset.id} has ${has} dimensions of ${what}, the embodiment ${wants}`,
      { field: o.field, fix: 'Use a data set of this embodiment.' },
    );
  }
  for (const camera of o.spec.cameras) {
    if (dataset.cameras.some(({ name }) => name === camera.name)) continue;
    throw new ArmatureError(
      'embodiment_mismatch',
      `data set ${o.dataset.id} has no camera ${camera.name}`,
      { field: o.field, fix: `Record camera ${camera.name}, or use a data set that has it.` },
    );
  }
}

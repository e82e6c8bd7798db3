import { ArmatureError, type EmbodimentSpec, type FinetuneOptions } from '@armature/sdk/contract';
import {
  annotateFromJoints,
  annotateWithVision,
  type Dataset,
  type Episode,
  type Label,
  type VisionEndpoint,
} from '@armature/datasets';
import type { ObjectStore } from '@armature/storage';
import { z } from 'zod';

export interface LabellerOptions {
  readonly how: FinetuneOptions['labels'];
  /** null: none is configured. */
  readonly vision: VisionEndpoint | null;
  readonly store: ObjectStore;
  /** Key prefix of what is derived from the data set, ending in `/`. */
  readonly derivedPrefix: string;
  readonly spec: EmbodimentSpec;
  readonly signal: AbortSignal;
}

/** Writes labels for episodes that have none. */
export interface Labeller {
  label(episode: Episode, dataset: Dataset): Promise<readonly Label[]>;
  /** Stores what was written, with its source, in the layout of a set's `meta/labels.jsonl`. */
  save(): Promise<void>;
}

const lineSchema = z.object({
  episode_index: z.number().int(),
  labels: z.array(
    z.object({ from: z.number(), to: z.number(), text: z.string(), source: z.string() }),
  ),
});

/** Episodes that a vision endpoint labels between two saves: they cost money. */
const SAVE_EVERY = 5;

/**
 * The labeller that a job asks for. Labels by vision are kept beside the data set and not asked for
 * again; labels from joints are computed anew, since they cost nothing.
 *
 * @throws ArmatureError invalid_request when no vision endpoint is configured.
 */
export async function openLabeller(o: LabellerOptions): Promise<Labeller> {
  if (o.how === 'none') {
    return { label: () => Promise.resolve([]), save: () => Promise.resolve() };
  }
  const key = `${o.derivedPrefix}labels-${o.how}.jsonl`;
  const known = o.how === 'vision_endpoint' ? await read(o.store, key) : new Map<number, Label[]>();
  const write = annotator(o);
  let unsaved = 0;
  const save = async (): Promise<void> => {
    if (unsaved === 0) return;
    const lines = [...known]
      .sort(([a], [b]) => a - b)
      .map(([episode, labels]) => JSON.stringify({ episode_index: episode, labels }));
    await o.store.put(key, new TextEncoder().encode(`${lines.join('\n')}\n`), {
      contentType: 'application/jsonl',
    });
    unsaved = 0;
  };
  return {
    async label(episode, dataset) {
      const before = known.get(episode.index);
      if (before !== undefined) return before;
      const labels = await write(episode, dataset);
      known.set(episode.index, labels);
      unsaved += 1;
      if (o.how === 'vision_endpoint' && unsaved >= SAVE_EVERY) await save();
      return labels;
    },
    save,
  };
}

function annotator(o: LabellerOptions): (episode: Episode, dataset: Dataset) => Promise<Label[]> {
  if (o.how === 'joints') {
    return (episode, dataset) => Promise.resolve(annotateFromJoints(episode, o.spec, dataset.fps));
  }
  const { vision } = o;
  if (vision === null) {
    throw new ArmatureError('invalid_request', 'no vision endpoint is configured', {
      field: 'options.labels',
      fix: 'Set VISION_ENDPOINT_URL and VISION_ENDPOINT_MODEL on the train worker, or label from joints.',
    });
  }
  const camera = o.spec.cameras.find(({ kind }) => kind === 'external') ?? o.spec.cameras[0];
  if (camera === undefined) throw new RangeError('the embodiment has no camera');
  return (episode, dataset) =>
    annotateWithVision(vision, dataset, episode.index, o.spec, {
      camera: camera.name,
      signal: o.signal,
    });
}

async function read(store: ObjectStore, key: string): Promise<Map<number, Label[]>> {
  if ((await store.head(key)) === null) return new Map();
  const text = new TextDecoder().decode(await store.get(key));
  const lines = text.split('\n').filter((line) => line !== '');
  return new Map(
    lines.map((line) => {
      const { episode_index: index, labels } = lineSchema.parse(JSON.parse(line));
      return [index, labels] as const;
    }),
  );
}

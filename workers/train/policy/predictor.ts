import { earlierInEpisode } from '@armature/policy/data';
import type { ActRow, PolicyHandle, PolicyRuntime, Reasoning } from '@armature/policy/runtime';
import type { ChunkQuery, Predict } from '../evaluation/index.ts';
import type { Demonstration } from '../job/workshop.ts';

/** What a row shows of its frame, however often it is asked. */
type Shown = Pick<ActRow, 'policy' | 'images' | 'instruction' | 'state' | 'earlier'>;

/**
 * The policy as it is served: reasoning runs beside the actions and is renewed every half chunk, so
 * a chunk is driven by one that is up to half a chunk old; pictures that are blanked are blank for
 * the reasoning too.
 */
export function runtimePredictor(
  runtime: PolicyRuntime,
  policy: PolicyHandle,
  episodes: readonly Demonstration[],
): Predict {
  const { spec, image } = policy.manifest;
  const byIndex = new Map(episodes.map((episode) => [episode.index, episode] as const));
  const black = new Uint8Array(image.width * image.height * 3);
  const renewed = Math.max(1, spec.horizon / 2);
  const spoken = new Map<string, Reasoning>();

  const show = (index: number, t: number, blank: boolean): Shown => {
    const episode = byIndex.get(index);
    if (episode === undefined) throw new RangeError(`there is no held-out episode ${index}`);
    const pictures = spec.cameras.map(
      ({ name }) => [name, blank ? black : episode.image(name, t)] as const,
    );
    const width = spec.state.length;
    const earlier = earlierInEpisode(episode, t, { horizon: spec.horizon, width });
    return {
      policy,
      images: Object.fromEntries(pictures),
      instruction: episode.instruction,
      state: episode.state.subarray(t * width, (t + 1) * width),
      ...(earlier === undefined ? {} : { earlier }),
    };
  };
  const reasoningOf = (query: ChunkQuery): { key: string; t: number } => {
    const t = Math.floor(query.t / renewed) * renewed;
    return { key: `${query.episode} ${t} ${query.blank}`, t };
  };
  const reason = async (queries: readonly ChunkQuery[]): Promise<void> => {
    const missing = new Map<string, ActRow>();
    for (const query of queries) {
      const { key, t } = reasoningOf(query);
      if (spoken.has(key) || missing.has(key)) continue;
      missing.set(key, { ...show(query.episode, t, query.blank), seed: 0 });
    }
    for (const batch of batches([...missing], runtime.maxBatch)) {
      const said = await runtime.reason(batch.map(([, row]) => row));
      batch.forEach(([key], i) => {
        const reasoning = said[i];
        if (reasoning === undefined) throw new RangeError('the policy gave no reasoning');
        spoken.set(key, reasoning);
      });
    }
  };

  return async (queries) => {
    await reason(queries);
    const rows = queries.flatMap((query): ActRow[] => {
      const shown = show(query.episode, query.t, query.blank);
      const reasoning = spoken.get(reasoningOf(query).key);
      return query.seeds.map((seed) => ({
        ...shown,
        seed,
        sampler: query.sampler,
        ...(query.lastCommand === undefined ? {} : { lastCommand: query.lastCommand }),
        ...(reasoning === undefined ? {} : { reasoning }),
      }));
    });
    const chunks: Float32Array[] = [];
    for (const batch of batches(rows, runtime.maxBatch)) {
      for (const { actions } of await runtime.act(batch)) chunks.push(actions);
    }
    let next = 0;
    return queries.map(({ seeds }) => {
      const own = chunks.slice(next, next + seeds.length);
      next += seeds.length;
      return own;
    });
  };
}

function* batches<T>(items: readonly T[], size: number): Generator<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}

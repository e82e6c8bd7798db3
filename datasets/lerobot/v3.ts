import { ArmatureError } from '@armature/sdk/contract';
import type { Camera, Dataset, VideoClip } from '../dataset.ts';
import type { BlobSource } from '../source/blob-source.ts';
import { readColumns, type RowRange } from './columns.ts';
import { camerasOf, fillTemplate, type Info, videoTemplate } from './info.ts';
import { LeRobotDataset } from './lerobot-dataset.ts';
import { type EpisodeRow, EPISODES_FOLDER, readEpisodeRows, readTaskTable } from './v3-tables.ts';
import { readLabels } from './v2.ts';

/**
 * Opens a LeRobot v3.0 set: parquet and mp4 files that hold several episodes each, found through
 * `meta/episodes`. Rows of an episode are told by their `episode_index`, its pictures by its time
 * in the video.
 * @throws ArmatureError `invalid_dataset` naming the file and field that is missing or wrong.
 */
export async function openLeRobotV3(source: BlobSource, info: Info): Promise<Dataset> {
  const cameras = camerasOf(info);
  const rows = await readEpisodeRows(source, cameras);
  const byIndex = new Map(rows.map((row) => [row.index, row]));
  const need = (index: number): EpisodeRow => {
    const row = byIndex.get(index);
    if (row === undefined) throw new RangeError(`no episode ${index}`);
    return row;
  };
  const ranges = new EpisodeRanges(source);
  return new LeRobotDataset(source, info, {
    format: 'lerobot-v3.0',
    tasks: await readTaskTable(source),
    episodes: rows.map(({ index, length, tasks }) => ({ index, length, task: tasks[0] ?? '' })),
    labels: await readLabels(source),
    episodesPath: EPISODES_FOLDER,
    rows: async (index) => {
      const { data } = need(index);
      const path = fillTemplate('data_path', info.data_path, {
        chunk_index: data.chunk,
        file_index: data.file,
      });
      return { path, rows: await ranges.of(path, index) };
    },
    video: (index, camera) => videoOf(info, need(index), camera),
  });
}

function videoOf(info: Info, row: EpisodeRow, camera: Camera): { path: string; clip: VideoClip } {
  const video = row.videos.get(camera.feature);
  if (video === undefined) {
    throw new ArmatureError(
      'invalid_dataset',
      `${EPISODES_FOLDER} does not say where the video of ${camera.feature} lies`,
      { field: `videos/${camera.feature}/file_index`, fix: `Convert the data set again.` },
    );
  }
  const path = fillTemplate('video_path', videoTemplate(info), {
    chunk_index: video.chunk,
    file_index: video.file,
    video_key: camera.feature,
  });
  return { path, clip: { from: video.from, to: video.to, fps: info.fps } };
}

/** Which rows of a data file are an episode's, read once a file. */
class EpisodeRanges {
  readonly #source: BlobSource;
  readonly #files = new Map<string, Promise<ReadonlyMap<number, RowRange>>>();

  constructor(source: BlobSource) {
    this.#source = source;
  }

  /** @throws ArmatureError `invalid_dataset` when the file lacks the episode or scatters its rows. */
  async of(path: string, episode: number): Promise<RowRange> {
    const known = this.#files.get(path) ?? this.#read(path);
    this.#files.set(path, known);
    known.catch(() => this.#files.delete(path));
    const range = (await known).get(episode);
    if (range !== undefined) return range;
    throw new ArmatureError('invalid_dataset', `${path} has no rows of episode ${episode}`, {
      field: 'episode_index',
      fix: `Correct data/file_index in ${EPISODES_FOLDER}, or convert the data set again.`,
    });
  }

  async #read(path: string): Promise<Map<number, RowRange>> {
    const columns = await readColumns(this.#source, path, ['episode_index']);
    const indices = columns.get('episode_index')?.values ?? new Float64Array(0);
    const ranges = new Map<number, RowRange>();
    let start = 0;
    for (let row = 1; row <= indices.length; row += 1) {
      if (row < indices.length && indices[row] === indices[start]) continue;
      const episode = indices[start] ?? Number.NaN;
      if (ranges.has(episode)) {
        throw new ArmatureError(
          'invalid_dataset',
          `${path}: the rows of episode ${episode} do not lie together`,
          { field: 'episode_index', fix: 'Write the rows of an episode one after another.' },
        );
      }
      ranges.set(episode, { start, end: row });
      start = row;
    }
    return ranges;
  }
}

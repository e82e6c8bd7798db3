import {
  ArmatureError,
  type DatasetReport,
  type EmbodimentSpec,
  isArchive,
} from '@armature/sdk/contract';
import { throwIfCancelled } from '../cancel.ts';
import type { Dataset, Episode, EpisodeInfo } from '../dataset.ts';
import { openDataset } from '../open.ts';
import type { BlobSource } from '../source/blob-source.ts';
import { ColumnStore } from '../stats/column-store.ts';
import { storedStats } from '../stats/feature-stats.ts';
import { withoutEpisodes } from '../without-episodes.ts';
import { checkMotion, movingFrames } from './check-motion.ts';
import { checkEpisode, checkStats } from './check-numbers.ts';
import { SetCheck } from './check-set.ts';
import { checkVideo, type EpisodePicture } from './check-video.ts';
import { type EpisodeSummary, summaryOf } from './episode-summary.ts';
import { Findings, isFault } from './findings.ts';
import { matchSpec } from './match-spec.ts';

export interface ValidateOptions {
  /** Share that is done, 0 to 1. */
  onProgress?(fraction: number): void;
  readonly signal?: AbortSignal;
  /** Episodes checked at a time; 2 when absent. */
  readonly lanes?: number;
  /** Episodes that are left out, as if the set did not have them. */
  readonly without?: readonly number[];
  /** Folder for what does not stay in memory; the system's for temporary files when absent. */
  readonly scratch?: string;
  /** What the report has no room for, once an episode has been looked at, in any order. */
  onEpisode?(summary: EpisodeSummary): void;
  /** The first, the middle and the last picture of each camera of an episode. */
  readonly onPicture?: (picture: EpisodePicture) => Promise<void>;
  /** The episodes that are being looked at, whenever these change. */
  onReading?(episodes: readonly number[]): void;
}

/**
 * Checks a whole set against its embodiment: description, every row, every picture. What is wrong
 * with the set is in the report's findings, each with its fix; the set is usable when none of them
 * is an error. Statistics are true ones over all frames, `null` where rows are unusable.
 * @throws ArmatureError `cancelled`; and what the source throws when it cannot be reached.
 */
export async function validateDataset(
  dataset: Dataset,
  spec: EmbodimentSpec,
  options: ValidateOptions = {},
): Promise<DatasetReport> {
  const started = performance.now();
  const signal = options.signal ?? new AbortController().signal;
  const findings = new Findings();
  matchSpec(dataset, spec, findings);
  checkList(dataset, findings);

  const rows = dataset.episodes.reduce((sum, episode) => sum + episode.length, 0);
  const goal = Math.max(1, rows * (dataset.cameras.length + 1));
  let done = 0;
  let pictures = 0;
  const advance = (frames: number): void => {
    done += frames;
    options.onProgress?.(Math.min(1, done / goal));
  };
  const whole = new WholeSet(dataset, options.scratch);
  const waiting = [...dataset.episodes];
  const reading = new Set<number>();
  const lane = async (): Promise<void> => {
    for (let info = waiting.shift(); info !== undefined; info = waiting.shift()) {
      throwIfCancelled(signal);
      reading.add(info.index);
      options.onReading?.([...reading]);
      const episode = await readRows(dataset, info, spec.horizon, findings);
      if (episode !== null) {
        await whole.add(episode);
        options.onEpisode?.(summaryOf(dataset, info, episode));
      }
      advance(info.length);
      const moving = episode === null ? [] : movingFrames(dataset, episode);
      for (const camera of dataset.cameras) {
        const seen = await checkVideo({
          dataset,
          episode: info.index,
          camera,
          rows: episode?.length ?? null,
          moving,
          expected: info.length,
          findings,
          signal,
          onFrame: () => advance(1),
          ...(options.onPicture === undefined ? {} : { onPicture: options.onPicture }),
        });
        // Added after the wait: the other lane adds meanwhile.
        pictures += seen;
      }
      reading.delete(info.index);
    }
  };
  let stats: DatasetReport['stats'];
  try {
    await inLanes(options.lanes ?? 2, lane);
    stats = await whole.stats();
    if (stats !== null) {
      checkStats(stats, spec, findings);
      whole.check.report(spec, stats, findings);
    }
  } finally {
    await whole.close();
  }
  const seconds = (performance.now() - started) / 1000;
  options.onProgress?.(1);
  return {
    format: dataset.format,
    robot_type: dataset.robotType,
    fps: dataset.fps,
    episodes: dataset.episodes.length,
    frames: whole.frames,
    tasks: [...dataset.tasks],
    cameras: dataset.cameras.map(({ name, width, height }) => ({ name, width, height })),
    findings: findings.list(),
    stats,
    ingest: { seconds, frames_per_s: pictures / seconds, peak_rss_mb: peakRss() },
  };
}

/**
 * Opens and checks a set. One whose description cannot be read gives a report of no episodes with
 * that one error, like any other bad set.
 */
export async function validateSource(
  source: BlobSource,
  spec: EmbodimentSpec,
  options: ValidateOptions = {},
): Promise<DatasetReport> {
  const archives = (await source.list()).filter(isArchive);
  const report = await openAndValidate(source, spec, options);
  return archives.reduce((so, path) => withFault(so, packed(path)), report);
}

async function openAndValidate(
  source: BlobSource,
  spec: EmbodimentSpec,
  options: ValidateOptions,
): Promise<DatasetReport> {
  try {
    const dataset = await openDataset(source);
    try {
      return await validateDataset(withoutEpisodes(dataset, options.without ?? []), spec, options);
    } finally {
      await dataset.close();
    }
  } catch (error) {
    if (!isFault(error)) throw error;
    return failedReport(error);
  }
}

function packed(path: string): ArmatureError {
  return new ArmatureError('invalid_dataset', `${path} is an archive, which is not opened`, {
    field: path,
    fix: `Unpack ${path} and upload the files that it holds.`,
  });
}

/** The report of a set of which nothing but `error` is known. */
export function failedReport(error: ArmatureError): DatasetReport {
  const report: DatasetReport = {
    format: 'unreadable',
    robot_type: 'unspecified',
    fps: 0,
    episodes: 0,
    frames: 0,
    tasks: [],
    cameras: [],
    findings: [],
    stats: null,
    ingest: { seconds: 0, frames_per_s: 0, peak_rss_mb: peakRss() },
  };
  const findings = new Findings();
  findings.addFault(error, error.field === undefined ? {} : { feature: error.field });
  return { ...report, findings: findings.list() };
}

/** The report with one more fault of the set. @throws `error` itself where the set is not to blame. */
export function withFault(report: DatasetReport, error: unknown): DatasetReport {
  if (!isFault(error)) throw error;
  const finding = failedReport(error).findings;
  return { ...report, findings: [...finding, ...report.findings] };
}

/** Whether a report's set may be used. */
export const isUsable = (report: DatasetReport): boolean =>
  report.findings.every((finding) => finding.severity !== 'error');

function checkList(dataset: Dataset, findings: Findings): void {
  if (dataset.episodes.length === 0) {
    findings.add({
      severity: 'error',
      code: 'no_episodes',
      message: 'the data set has no episodes',
      fix: 'Record at least one episode and list it in meta/episodes.jsonl.',
      feature: 'episodes',
    });
  }
  const seen = new Set<number>();
  for (const { index } of dataset.episodes) {
    if (seen.has(index)) {
      findings.add({
        severity: 'error',
        code: 'duplicate_episode',
        message: `episode ${index} is listed twice`,
        fix: 'List every episode once in meta/episodes.jsonl.',
        episode: index,
      });
    }
    seen.add(index);
  }
}

async function readRows(
  dataset: Dataset,
  info: EpisodeInfo,
  horizon: number,
  findings: Findings,
): Promise<Episode | null> {
  try {
    const episode = await dataset.readEpisode(info.index);
    checkEpisode(dataset, info, episode, horizon, findings);
    checkMotion(dataset, episode, findings);
    return episode;
  } catch (error) {
    if (!isFault(error)) throw error;
    findings.addFault(error, {
      episode: info.index,
      ...(error.field === undefined ? {} : { feature: error.field }),
    });
    return null;
  }
}

/** What is kept of the episodes when they have been looked at. */
class WholeSet {
  readonly check: SetCheck;
  readonly #dataset: Dataset;
  readonly #state: ColumnStore;
  readonly #action: ColumnStore;
  #frames = 0;
  #isFinite = true;

  constructor(dataset: Dataset, scratch: string | undefined) {
    this.check = new SetCheck(dataset);
    this.#dataset = dataset;
    this.#state = new ColumnStore(dataset.stateNames.length, scratch);
    this.#action = new ColumnStore(dataset.actionNames.length, scratch);
  }

  get frames(): number {
    return this.#frames;
  }

  async add(episode: Episode): Promise<void> {
    this.#frames += episode.length;
    const values = [episode.state, episode.action];
    this.#isFinite &&= values.every((feature) => feature.every(Number.isFinite));
    if (!this.#isFinite) return;
    this.check.see(episode, this.#dataset);
    await this.#state.add(episode.state);
    await this.#action.add(episode.action);
  }

  /** True ones over all rows; `null` where there are none, or some are no numbers. */
  async stats(): Promise<DatasetReport['stats']> {
    if (!this.#isFinite || this.#frames === 0) return null;
    return {
      state: await storedStats(this.#dataset.stateNames, this.#state),
      action: await storedStats(this.#dataset.actionNames, this.#action),
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.#state.close(), this.#action.close()]);
  }
}

/** The first failure is thrown when every lane has stopped. */
async function inLanes(lanes: number, lane: () => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(Array.from({ length: lanes }, lane));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

const peakRss = (): number => process.resourceUsage().maxRSS / 1024;

import * as z from 'zod';

const perDimension = z.array(z.number());
/** Over the frames of one episode; standard deviations of the population. */
const episodeStatsSchema = z.object({
  mean: perDimension,
  std: perDimension,
  min: perDimension,
  max: perDimension,
});
export type EpisodeStats = z.infer<typeof episodeStatsSchema>;

const episodeSchema = z.object({
  episode: z.number().int(),
  frames: z.number().int(),
  seconds: z.number(),
  task: z.string(),
  /** Null where there are no frames, or some values are no numbers. */
  state: episodeStatsSchema.nullable(),
  action: episodeStatsSchema.nullable(),
});
const pictureSchema = z.object({
  camera: z.string(),
  /** Frame of the episode that it shows. */
  frame: z.number().int(),
  width: z.number().int(),
  height: z.number().int(),
});

/** One episode of a validated data set, with JPEGs of its first, middle and last frame a camera. */
export const datasetEpisodeSchema = episodeSchema.extend({
  pictures: z.array(pictureSchema.extend({ url: z.url() })),
});
export type DatasetEpisode = z.infer<typeof datasetEpisodeSchema>;

/** Episodes of one page, and of one object in the store. */
export const EPISODES_A_PAGE = 50;

/** What the validation leaves of a page of episodes, beside the files of the set. */
export const storedEpisodesSchema = z.array(
  episodeSchema.extend({ pictures: z.array(pictureSchema.extend({ file: z.string() })) }),
);
export type StoredEpisodes = z.infer<typeof storedEpisodesSchema>;

/** Prefix of what the validation makes of a set whose files lie under `prefix`. */
export const derivedPrefix = (prefix: string): string => prefix.replace(/files\/$/, 'derived/');
/** Name of the object that holds a page of episodes. */
export const episodesFile = (page: number): string => `episodes-${page}.json`;

/** Reading, checking, labelling, caching and writing demonstrations. */
export type {
  Camera,
  Dataset,
  DecodeOptions,
  Episode,
  EpisodeInfo,
  Label,
  OnFrame,
  StillPicture,
  VideoClip,
  VideoInput,
} from './dataset.ts';
export { openDataset } from './open.ts';
export { withoutEpisodes } from './without-episodes.ts';
export type { BlobSource, ByteRange } from './source/blob-source.ts';
export { fromDirectory } from './source/directory.ts';
export type { ReadableStore } from './source/object-store.ts';
export { fromStore } from './source/object-store.ts';
export { featureStats } from './stats/feature-stats.ts';
export { annotateFromJoints } from './annotate/from-joints.ts';
export type { VisionEndpoint, VisionOptions } from './annotate/with-vision.ts';
export { annotateWithVision } from './annotate/with-vision.ts';
export type { FrameCacheOptions } from './cache/frame-cache.ts';
export { FrameCache } from './cache/frame-cache.ts';
export type { RecordedEpisode, Recording } from './lerobot/write.ts';
export { writeLeRobot } from './lerobot/write.ts';
export type { EpisodePicture } from './validate/check-video.ts';
export type { EpisodeSummary } from './validate/episode-summary.ts';
export type { ValidateOptions } from './validate/validate.ts';
export {
  failedReport,
  isUsable,
  validateDataset,
  validateSource,
  withFault,
} from './validate/validate.ts';

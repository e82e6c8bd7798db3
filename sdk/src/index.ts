export * from './browser.ts';
export type { HashedFile, LocalFile } from './datasets/local-files.ts';
export {
  pushDataset,
  waitForDataset,
  type PushOptions,
  type PushProgress,
  type WaitForDatasetOptions,
} from './datasets/push-dataset.ts';
export {
  downloadPolicy,
  type DownloadedPolicy,
  type DownloadOptions,
} from './policies/download-policy.ts';
export { exportLeRobot, lerobotEpisode, type LeRobotOptions } from './recording/lerobot.ts';
export { recordingToMcap } from './recording/mcap.ts';
export { specFromLeRobot, type SpecFromLeRobotOptions } from './datasets/spec-from-lerobot.ts';
export { exportUsage, usageFormats, type UsageFormat } from './usage/export-usage.ts';

export { environmentOfParts } from './config.ts';
export { PlatformError } from './errors.ts';
export { runUntilStopped } from './lifetime.ts';
export {
  startPlatform,
  type Platform,
  type PlatformEvent,
  type PlatformOptions,
} from './platform.ts';
export type { ProcessName } from './processes.ts';

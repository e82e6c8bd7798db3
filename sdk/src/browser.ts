export * from '../contract/index.ts';
export { Armature, type ArmatureOptions, type ClientInput, type Group } from './client.ts';
export type { CallOptions, RetryOptions } from './http.ts';
export { waitForFinetune, type WaitForFinetuneOptions } from './finetunes/wait-for-finetune.ts';
export { announceSession, type AnnounceOptions } from './robot/announce.ts';
export { connectRobot, type ConnectWithClient, type ConnectWithGrant } from './robot/connect.ts';
export type { Chunk } from './robot/chunk.ts';
export { CommandLimits } from './robot/command-limits.ts';
export {
  defineEmbodiment,
  type ActionJoint,
  type ActionRow,
  type CameraName,
  type EmbodimentShape,
  type StateJoint,
} from './robot/embodiment.ts';
export { quantile } from './robot/latency.ts';
export type { ReconnectOptions, ResumeWishes, SessionStatus } from './robot/link.ts';
export type { Observation, Picture } from './robot/observation.ts';
export type { Aggregate } from './robot/action-queue.ts';
export type { Execute, MeasuredDelay, RunOptions } from './robot/run.ts';
export { SessionRecorder, type RecordedStep } from './recording/recorder.ts';
export type { ActOptions, RobotSession } from './robot/session.ts';
export type { RobotStats } from './robot/stats.ts';

/** One robot's connection, whatever carries its frames: what is computed, checked, recorded and sent. */
export type { RowResult, SessionDeps, SessionLog, SessionOutlet } from './deps.ts';
export { RobotSession } from './robot-session.ts';
export { fetchAhead } from './fetch-ahead.ts';

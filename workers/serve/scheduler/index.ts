/** What waits, whose turn it is, and which engine is free. Knows no socket, no model, no database. */
export { Capacity, type Demand } from './capacity.ts';
export {
  Dispatcher,
  type CompletedRun,
  type DropReason,
  type EngineLane,
  type Enqueued,
  type Job,
  type RunInfo,
} from './dispatcher.ts';
export { ObservationQueue, type Lane, type Waiting } from './queue.ts';
export { runSize } from './run-size.ts';

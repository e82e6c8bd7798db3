/** Why a running job is told to stop; the abort reason of its signal. */
export class LeaseLost extends Error {
  constructor(how: string) {
    super(`the lease is lost: ${how}`);
    this.name = 'LeaseLost';
  }
}

/** The tenant asked to cancel the job. */
export class CancelRequested extends Error {
  constructor() {
    super('the job was cancelled');
    this.name = 'CancelRequested';
  }
}

/** The tenant asked to pause the job. */
export class PauseRequested extends Error {
  constructor() {
    super('the job was paused');
    this.name = 'PauseRequested';
  }
}

/** This process ends; the job goes back to the queue. */
export class Stopping extends Error {
  constructor() {
    super('the worker stops');
    this.name = 'Stopping';
  }
}

/** The reason of an aborted signal as an error. */
export function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error(String(reason));
}

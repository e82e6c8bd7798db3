import { ArmatureError, parseServerFrame, type ServerFrame } from '../../contract/index.ts';

/** The frame, undefined where it is none of this dialect. */
export function readFrame(data: Uint8Array | string): ServerFrame | undefined {
  if (typeof data === 'string') return undefined;
  try {
    return parseServerFrame(data);
  } catch (error) {
    if (error instanceof ArmatureError) return undefined;
    throw error;
  }
}

export function errorFromFrame(frame: Extract<ServerFrame, { type: 'error' }>): ArmatureError {
  return new ArmatureError(frame.code, frame.message, {
    retryable: frame.retryable,
    ...(frame.field === undefined ? {} : { field: frame.field }),
    ...(frame.fix === undefined ? {} : { fix: frame.fix }),
  });
}

export function lostConnection(what: string): ArmatureError {
  return new ArmatureError('unavailable', `the connection to the worker ${what}`, {
    fix: 'Ask again: the session reconnects by itself.',
  });
}

export function noAnswer(ms: number): ArmatureError {
  return new ArmatureError('timeout', `the worker did not answer within ${Math.round(ms)} ms`, {
    field: 'deadline_ms',
    fix: 'Act on what is there already and ask with a newer observation.',
  });
}

export function notTaken(bytes: number): ArmatureError {
  return new ArmatureError('unavailable', `${bytes} bytes sent before have not left yet`, {
    fix: 'Act on what is there already and ask with a newer observation in a moment.',
  });
}

export function superseded(seq: number, by: number): ArmatureError {
  return new ArmatureError('cancelled', `observation ${seq} was overtaken by ${by}`, {
    field: 'seq',
    fix: 'Use the newer chunk.',
  });
}

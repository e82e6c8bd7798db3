/** What went wrong in an engine. */
export type EngineErrorCode =
  | 'no_provider'
  | 'load_failed'
  | 'run_failed'
  | 'unknown_session'
  | 'unknown_resident'
  | 'bad_value'
  | 'closed'
  | 'crashed';

/** An error of the engine or of ONNX Runtime, with the session it concerns where there is one. */
export class EngineError extends Error {
  readonly code: EngineErrorCode;
  readonly session: string | undefined;
  constructor(code: EngineErrorCode, message: string, session?: string) {
    super(session === undefined ? message : `session ${session}: ${message}`);
    this.name = 'EngineError';
    this.code = code;
    this.session = session;
  }
}

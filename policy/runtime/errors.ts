/** Why a policy or a row was refused. */
export type PolicyErrorCode = 'incompatible' | 'invalid_weights' | 'invalid_row' | 'no_slot';

/** A policy that cannot be served here, or a row that it cannot answer. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly code: PolicyErrorCode;
  readonly field: string | undefined;

  constructor(code: PolicyErrorCode, message: string, field?: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.field = field;
  }
}

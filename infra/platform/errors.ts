/** The platform can't start or go on; `fix` says what its operator can do about it. */
export class PlatformError extends Error {
  readonly fix: string | undefined;

  constructor(message: string, details: { readonly fix?: string; readonly cause?: unknown } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'PlatformError';
    this.fix = details.fix;
  }
}

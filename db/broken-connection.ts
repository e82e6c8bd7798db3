/**
 * Whether an error that nobody caught is postgres.js writing to a connection that had just broken off
 * (`nextWrite` of its `connection.js`, from a timer, so that no caller sees it). The query on that
 * connection is then never answered.
 */
export function isBrokenConnection(error: unknown): boolean {
  return (
    error instanceof TypeError &&
    /nextWrite .*postgres\/(?:src|cjs\/src)\/connection\.js/.test(error.stack ?? '')
  );
}

/** Carries a caller's network address to the library; what comes from outside under it is dropped. */
export const ADDRESS_HEADER = 'x-armature-caller-address';

/**
 * The chain of addresses that a request came by, the last one being whom the connection is with. Others
 * are believed only where proxies are trusted, whose number says how far back.
 */
export function addressChain(
  connection: string | undefined,
  forwardedFor: string | undefined,
  trustsProxies: boolean,
): string | undefined {
  if (connection === undefined) return undefined;
  return trustsProxies && forwardedFor !== undefined
    ? `${forwardedFor}, ${connection}`
    : connection;
}

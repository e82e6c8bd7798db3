import { randomUUID } from 'node:crypto';

const SOUND = /^[A-Za-z0-9_-]{8,64}$/;

/** The caller's own id for the request where it is a sound one, else a new one. */
export function requestIdOf(given: string | undefined): string {
  return given !== undefined && SOUND.test(given) ? given : `req_${randomUUID()}`;
}

import { ArmatureError, TENANT_HEADER, type Need } from '@armature/sdk/contract';
import type { Caller } from '../caller.ts';
import type { Actor, Authenticator } from './authenticator.ts';
import type { People } from './people/people.ts';

export interface IdentifyDeps {
  readonly authenticator: Authenticator;
  readonly people: People;
}

/** What of a verb decides who may call it. */
export interface Asked {
  readonly method: string;
  readonly scope: Need;
}

const TENANT = /^ten_[0-9a-z]{26}$/;
/** What no member does, whatever the tenant. */
const APART: ReadonlySet<Need> = new Set(['platform', 'invitation', 'person']);

/**
 * Who calls. What stands in the Authorization header counts alone; without one, a sign-in does, for the
 * tenant that the request names. Both are looked up anew, so that who is signed out, removed or given
 * another role is so at once.
 * @throws ArmatureError as `authenticate` does; `not_signed_in`, `forbidden` for a page of another origin
 *   or a tenant that the person is no member of, `invalid_request` without a tenant, `rate_limited`.
 */
export async function identify(
  { authenticator, people }: IdentifyDeps,
  caller: Caller,
  { method, scope }: Asked,
): Promise<Actor> {
  const { authorization = '', cookies, tenant = '', origin } = caller;
  if (authorization !== '' || !people.carriesSignIn(cookies)) {
    return authenticator.authenticate(authorization);
  }
  if (method !== 'GET' && !people.trusts(origin)) {
    throw new ArmatureError('forbidden', 'the request comes from no page of this platform', {
      field: 'origin',
      fix: 'Send changes from a page of this platform, or with an API key.',
    });
  }
  const person = await people.personOf(cookies);
  if (person === null) {
    throw new ArmatureError('not_signed_in', 'nobody is signed in any more', {
      field: 'cookie',
      fix: 'Sign in again.',
    });
  }
  if (APART.has(scope)) {
    await people.admit(person.id);
    return { kind: 'person', person };
  }
  if (tenant === '') {
    throw new ArmatureError('invalid_request', `${TENANT_HEADER}: no tenant is chosen`, {
      field: TENANT_HEADER,
      fix: `Send ${TENANT_HEADER} with the id of one of your tenants.`,
    });
  }
  const membership = TENANT.test(tenant) ? await people.membershipOf(person.id, tenant) : null;
  if (membership === null) {
    throw new ArmatureError('forbidden', 'you are no member of this tenant', {
      field: TENANT_HEADER,
      fix: 'Choose one of your tenants, or ask an owner for an invitation.',
    });
  }
  return { kind: 'member', ...membership };
}

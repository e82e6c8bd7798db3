import type { AttemptRule } from '../../services/identity.ts';

/** How often something may be tried from one network address; IPv6 counts by /64. */
export const byAddress = {
  'sign-in': { windowS: 60, max: 20 },
  'sign-up': { windowS: 600, max: 10 },
  /** What sends a mail to an address that the caller names. */
  mail: { windowS: 600, max: 10 },
  other: { windowS: 10, max: 100 },
} as const satisfies Record<string, AttemptRule>;

/** How often for one e-mail address, whoever tries, known or not: guesses from many networks. */
export const byEmail = {
  'sign-in': { windowS: 300, max: 10 },
  'sign-up': { windowS: 3600, max: 5 },
  mail: { windowS: 3600, max: 5 },
} as const satisfies Partial<Record<keyof typeof byAddress, AttemptRule>>;

/** Calls of a person in no tenant, whose rate would count them. */
export const byPerson: AttemptRule = { windowS: 10, max: 50 };

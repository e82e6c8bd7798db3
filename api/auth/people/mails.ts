import type { Mail } from '../../mail/mailer.ts';

/** An hour, which links are good for, s. */
export const LINK_LIFE_S = 3600;

export function verificationMail(to: string, url: string): Mail {
  return {
    to,
    subject: 'Confirm your address',
    text: `Somebody signed up at Armature with this address. If it was you, confirm it within an hour:

${url}

If it was not you, do nothing: without this nobody can sign in with it.
`,
  };
}

export function resetMail(to: string, url: string): Mail {
  return {
    to,
    subject: 'Choose a new password',
    text: `Somebody asked for a new password of your account at Armature. If it was you, choose one within an hour:

${url}

You will be signed out everywhere. If it was not you, do nothing: your password stays as it is.
`,
  };
}

/** To who has an account and signs up again: the answer must not tell whether there is one. */
export function knownMail(to: string): Mail {
  return {
    to,
    subject: 'You have an account already',
    text: `Somebody signed up at Armature with this address, which has an account already. If it was you, sign in,
or ask for a new password. If it was not you, do nothing.
`,
  };
}

import type { Logger } from 'pino';

/** A mail of plain text to one address. */
export interface Mail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

export interface Mailer {
  /** `none` sends nothing, so that nothing that needs a mail is offered. */
  readonly kind: 'smtp' | 'log' | 'none';
  /** Resolves once another server has taken the mail over. @throws Error with the server's answer. */
  send(mail: Mail): Promise<void>;
  close(): void;
}

/** For a platform without a mail server. */
export const noMailer: Mailer = {
  kind: 'none',
  send: () => Promise.reject(new Error('MAIL_KIND is none: no mail is sent')),
  close: () => undefined,
};

/**
 * Writes mails to the process's log, links that sign somebody in included: for a platform on a
 * developer's machine.
 */
export function logMailer(log: Logger): Mailer {
  return {
    kind: 'log',
    send: async (mail) => {
      log.info({ mail }, 'a mail, which is not sent');
    },
    close: () => undefined,
  };
}

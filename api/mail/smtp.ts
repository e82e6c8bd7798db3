import type { Mailer } from './mailer.ts';

/** Longest waits for a server, ms. */
const CONNECT_MS = 10_000;
const SILENCE_MS = 30_000;

export interface SmtpSettings {
  /** `smtp://` or `smtps://`, with name and password where the server asks for them. */
  readonly url: string;
  /** Sender, e.g. `Armature <no-reply@example.com>`. */
  readonly from: string;
}

/** Sends mails by SMTP; a connection is kept for the next one, the library loaded with the first. */
export function smtpMailer(settings: SmtpSettings): Mailer {
  let opening: ReturnType<typeof open> | undefined;
  return {
    kind: 'smtp',
    send: async ({ to, subject, text }) => {
      opening ??= open(settings.url);
      const transport = await opening;
      const { from } = settings;
      await transport.sendMail({ from, to: { name: '', address: to }, subject, text });
    },
    close: () => {
      opening?.then(
        (transport) => transport.close(),
        // Whoever sent has been told.
        () => undefined,
      );
    },
  };
}

async function open(url: string) {
  const { createTransport } = await import('nodemailer');
  return createTransport({
    url,
    pool: true,
    maxConnections: 2,
    connectionTimeout: CONNECT_MS,
    greetingTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    // A mail is text of ours: nothing in it is fetched from a file or a URL.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
}

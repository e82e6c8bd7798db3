import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { linkIn, type Inbox } from './people.ts';

/** A mail as a server on loopback received it. */
export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly user: string | undefined;
}

export interface SmtpReceiver extends Inbox {
  readonly url: string;
  readonly mails: ReceivedMail[];
  /** While set, every mail is refused. */
  refusing: boolean;
  stop(): Promise<void>;
}

/** A mail server on loopback that keeps what it is sent; name and password are asked for. */
export async function startSmtpReceiver(): Promise<SmtpReceiver> {
  const mails: ReceivedMail[] = [];
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS'],
    authMethods: ['PLAIN'],
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _session, done) => {
      const isRight = username === 'mailer' && password === 'its password';
      done(isRight ? null : new Error('no'), isRight ? { user: username } : undefined);
    },
    onMailFrom: (_address, _session, done) => {
      done(receiver.refusing ? new Error('not today') : undefined);
    },
    onData: (stream, { envelope, user }, done) => {
      const pieces: Buffer[] = [];
      stream.on('data', (piece: Buffer) => pieces.push(piece));
      stream.on('end', () => {
        const [head = '', ...rest] = Buffer.concat(pieces).toString('utf8').split('\r\n\r\n');
        const { mailFrom, rcptTo } = envelope;
        mails.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          subject: /^subject: (.*)$/im.exec(head)?.[1] ?? '',
          text: textOf(head, rest.join('\r\n\r\n')),
          user: typeof user === 'string' ? user : undefined,
        });
        done();
      });
    },
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.server.address() as AddressInfo;
  const receiver: SmtpReceiver = {
    url: `smtp://mailer:${encodeURIComponent('its password')}@127.0.0.1:${port}`,
    mails,
    refusing: false,
    linkTo: (address) => linkIn(mails.findLast(({ to }) => to.includes(address))?.text),
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
  return receiver;
}

/** The body as it was before it was made fit for lines of 76 letters (RFC 2045, 6.7). */
function textOf(head: string, body: string): string {
  if (!/^content-transfer-encoding: quoted-printable$/im.test(head)) return body;
  const bytes = body
    .replaceAll(/=\r\n/g, '')
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

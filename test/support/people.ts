import type { Mail, Mailer } from '../../api/mail/mailer.ts';

/** Keeps mails instead of sending them. */
export interface MailBox extends Mailer {
  readonly mails: Mail[];
  /** The link of the last mail to an address. @throws Error where there is none. */
  linkTo(address: string): string;
}

export function mailBox(): MailBox {
  const mails: Mail[] = [];
  return {
    kind: 'smtp',
    mails,
    send: async (mail) => void mails.push(mail),
    close: () => undefined,
    linkTo: (address) => {
      const mail = mails.findLast(({ to }) => to === address);
      const [link] = mail?.text.match(/https?:\/\/\S+/) ?? [];
      if (link === undefined) throw new Error(`no link was sent to ${address}`);
      return link;
    },
  };
}

/** A browser as far as signing in knows one: cookies, and the page that it is on. */
export class Browser {
  readonly #cookies = new Map<string, string>();
  /** Origin of the page; none for what is no page. */
  origin: string | undefined;
  /** Attributes of each cookie as it was set last. */
  readonly attributes = new Map<string, string>();
  readonly base: string;

  constructor(base: string, origin: string | undefined = new URL(base).origin) {
    this.base = base;
    this.origin = origin;
  }

  get cookies(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  set(name: string, value: string): void {
    this.#cookies.set(name, value);
  }

  /** Sends one request with the cookies, and keeps those of the answer; follows no redirect. */
  async send(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body?: object,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const answer = await fetch(new URL(path, this.base), {
      method,
      redirect: 'manual',
      headers: {
        ...(this.#cookies.size === 0 ? {} : { cookie: this.cookies }),
        ...(this.origin === undefined || method === 'GET' ? {} : { origin: this.origin }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    for (const line of answer.headers.getSetCookie()) {
      const [, name = '', value = '', rest = ''] = /^([^=]+)=([^;]*)(.*)$/.exec(line) ?? [];
      if (value === '' || /max-age=0\b/i.test(rest)) this.#cookies.delete(name);
      else this.#cookies.set(name, value);
      this.attributes.set(name, rest);
    }
    return answer;
  }

  async json(...request: Parameters<Browser['send']>): Promise<{ status: number; body: unknown }> {
    const answer = await this.send(...request);
    const text = await answer.text();
    return { status: answer.status, body: text === '' ? null : (JSON.parse(text) as unknown) };
  }
}

export const PASSWORD = 'a password that is long enough';

/** Signs up from a page of the platform, opens the link that was mailed, and signs in. */
export async function signUp(
  base: string,
  box: MailBox,
  email: string,
  publicUrl = base,
): Promise<Browser> {
  const browser = new Browser(base, new URL(publicUrl).origin);
  const person = { name: email.split('@')[0] ?? '', email, password: PASSWORD };
  const made = await browser.send('POST', '/auth/sign-up/email', person);
  if (made.status !== 200) throw new Error(`sign-up: ${made.status} ${await made.text()}`);
  await waitForMail(box, email.toLowerCase());
  const { pathname, search } = new URL(box.linkTo(email.toLowerCase()));
  await browser.send('GET', `${pathname}${search}`);
  await signIn(browser, email);
  return browser;
}

export async function signIn(browser: Browser, email: string, password = PASSWORD): Promise<void> {
  const answer = await browser.send('POST', '/auth/sign-in/email', { email, password });
  if (answer.status !== 200) throw new Error(`sign-in: ${answer.status} ${await answer.text()}`);
}

async function waitForMail(box: MailBox, address: string): Promise<void> {
  while (!box.mails.some(({ to }) => to === address)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

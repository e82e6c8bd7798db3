import type { Mail, Mailer } from '../../api/mail/mailer.ts';

/** Where mails arrive. */
export interface Inbox {
  /** The link of the last mail to an address; nothing while there is none. */
  linkTo(address: string): string | undefined;
}

/** Keeps mails instead of sending them. */
export interface MailBox extends Mailer, Inbox {
  readonly mails: Mail[];
}

export function mailBox(): MailBox {
  const mails: Mail[] = [];
  return {
    kind: 'smtp',
    mails,
    send: async (mail) => void mails.push(mail),
    close: () => undefined,
    linkTo: (address) => linkIn(mails.findLast(({ to }) => to === address)?.text),
  };
}

/** The first link of a text. */
export function linkIn(text: string | undefined): string | undefined {
  return text?.match(/https?:\/\/\S+/)?.[0];
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
  inbox: Inbox,
  email: string,
  publicUrl = base,
): Promise<Browser> {
  const browser = new Browser(base, new URL(publicUrl).origin);
  const person = { name: email.split('@')[0] ?? '', email, password: PASSWORD };
  const made = await browser.send('POST', '/auth/sign-up/email', person);
  if (made.status !== 200) throw new Error(`sign-up: ${made.status} ${await made.text()}`);
  const { pathname, search } = new URL(await linkOnceThere(inbox, email.toLowerCase()));
  await browser.send('GET', `${pathname}${search}`);
  await signIn(browser, email);
  return browser;
}

export async function signIn(browser: Browser, email: string, password = PASSWORD): Promise<void> {
  const answer = await browser.send('POST', '/auth/sign-in/email', { email, password });
  if (answer.status !== 200) throw new Error(`sign-in: ${answer.status} ${await answer.text()}`);
}

/** Mails are sent behind the answer. */
async function linkOnceThere(inbox: Inbox, address: string): Promise<string> {
  for (;;) {
    const link = inbox.linkTo(address);
    if (link !== undefined) return link;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

import { ArmatureError, type Person } from '@armature/sdk/contract';
import type { Logger } from 'pino';
import type { Mail, Mailer } from '../../mail/mailer.ts';
import type { AttemptRule, IdentityStore, Membership } from '../../services/identity.ts';
import { errorOfAnswer } from './answers.ts';
import type { Door } from './doors.ts';
import type { SignInLibrary } from './library.ts';
import { byAddress, byEmail, byPerson } from './limits.ts';
import type { OidcSettings } from './oidc.ts';
import { AUTH_PATH, cookieName } from './paths.ts';

export interface PeopleSettings {
  /** Signs cookies and links; 32 characters or more. */
  readonly secret: string;
  /** Under which the API is reached, without a slash at its end. */
  readonly publicUrl: string;
  /** Origins of pages beside the public URL's. */
  readonly origins: readonly string[];
  /** Addresses or ranges of the proxies in front. */
  readonly trustedProxies: readonly string[];
  readonly oidc: OidcSettings | null;
  /** Whether the process goes on after an answer, so that mails need not be waited for. */
  readonly outlivesAnswers: boolean;
}

export interface PeopleDeps extends PeopleSettings {
  readonly store: IdentityStore;
  readonly mailer: Mailer;
  readonly log: Logger;
}

/** What a door is asked for. */
export interface Visit {
  /** Path beneath `AUTH_PATH` with its query. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: Record<string, unknown> | undefined;
}

interface Loaded {
  readonly library: SignInLibrary;
  readonly addressOf: (library: SignInLibrary, headers: Headers) => string | null;
}

/** People who sign in: the library that does it, behind the doors and limits of the house. */
export class People {
  readonly #deps: PeopleDeps;
  #loading: Promise<Loaded> | undefined;
  readonly #baseUrl: string;
  readonly #origins: ReadonlySet<string>;
  readonly #cookie: string;
  readonly #sending = new Set<Promise<void>>();

  /** Whether what a request says of the addresses that it came by counts. */
  get trustsProxies(): boolean {
    return this.#deps.trustedProxies.length > 0;
  }

  constructor(deps: PeopleDeps) {
    this.#deps = deps;
    this.#baseUrl = `${deps.publicUrl}${AUTH_PATH}`;
    this.#origins = new Set([new URL(deps.publicUrl).origin, ...deps.origins]);
    this.#cookie = `${cookieName(this.#baseUrl)}=`;
  }

  /** Whether a cookie header carries a sign-in of this platform, be it good or not. */
  carriesSignIn(cookies: string | undefined): cookies is string {
    return cookies?.split(';').some((pair) => pair.trim().startsWith(this.#cookie)) ?? false;
  }

  /** Whether a page of this origin may act for whoever is signed in. */
  trusts(origin: string | undefined): boolean {
    return origin !== undefined && this.#origins.has(origin);
  }

  /** Who is signed in by these cookies, looked up anew every time; null for nobody. */
  async personOf(cookies: string): Promise<Person | null> {
    const { library } = await this.#load();
    const found = await library.api.getSession({
      headers: new Headers({ cookie: cookies }),
      // Only a page's own look renews a sign-in: its answer carries the new cookie.
      query: { disableCookieCache: true, disableRefresh: true },
    });
    if (found === null) return null;
    const { id, email, emailVerified, name } = found.user;
    return { id, email, email_verified: emailVerified, name };
  }

  /** As whom a person acts in a tenant, looked up anew every time; null for no member. */
  membershipOf(personId: string, tenant: string): Promise<Membership | null> {
    return this.#deps.store.findMembership(personId, tenant);
  }

  /** Counts a call of a person in no tenant. @throws ArmatureError `rate_limited`. */
  async admit(personId: string): Promise<void> {
    await this.#count(`person ${personId}`, byPerson, 'requests_per_person');
  }

  /**
   * What the library answers at a door: 2xx or a redirect.
   * @throws ArmatureError `rate_limited`, or as the library refused, with what it says in `told`.
   */
  async visit(door: Door, { path, headers, body }: Visit): Promise<Response> {
    const { mailer } = this.#deps;
    await this.#countVisit(door, headers, body?.['email']);
    if (door.mails === true && mailer.kind === 'none') {
      throw new ArmatureError('forbidden', 'this platform sends no mail', {
        fix: 'Sign in with the OpenID provider, or have the operator set MAIL_KIND.',
      });
    }
    const request = new Request(`${this.#baseUrl}${path}`, {
      method: door.method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const { library } = await this.#load();
    const answer = await library.handler(request);
    if (answer.status < 400) return answer;
    throw await errorOfAnswer(answer);
  }

  /** Waits for the mails that are under way. */
  async close(): Promise<void> {
    await Promise.all(this.#sending);
    this.#deps.mailer.close();
  }

  /** The library with the first who signs in: loading it is a third of a second of every start. */
  #load(): Promise<Loaded> {
    this.#loading ??= import('./library.ts').then(async ({ signInLibrary, addressOf }) => {
      const { secret, origins, trustedProxies, oidc, store, log } = this.#deps;
      const library = await signInLibrary({
        baseUrl: this.#baseUrl,
        secret,
        origins,
        trustedProxies,
        oidc,
        store,
        log,
        deliver: (mail) => this.#deliver(mail),
      });
      return { library, addressOf };
    });
    return this.#loading;
  }

  async #countVisit({ limit }: Door, headers: Headers, email: unknown): Promise<void> {
    const { library, addressOf } = await this.#load();
    const address = addressOf(library, headers) ?? 'unknown';
    await this.#count(`${limit} from ${address}`, byAddress[limit], `${limit}_by_address`);
    const rule = limit === 'other' ? undefined : byEmail[limit];
    if (rule === undefined || typeof email !== 'string') return;
    await this.#count(`${limit} of ${email.toLowerCase()}`, rule, `${limit}_by_email`);
  }

  async #count(key: string, rule: AttemptRule, limit: string): Promise<void> {
    const retryAfterS = await this.#deps.store.takeAttempt(key, rule);
    if (retryAfterS === null) return;
    throw new ArmatureError('rate_limited', `the limit ${limit} is reached`, {
      limit,
      retryAfterS,
      fix: `Wait ${Math.ceil(retryAfterS)} s.`,
    });
  }

  /** A mail that cannot be sent changes no answer: it would tell who has an account. */
  async #deliver(mail: Mail): Promise<void> {
    const sent = this.#deps.mailer.send(mail).catch((error: unknown) => {
      this.#deps.log.error({ err: error, subject: mail.subject }, 'a mail was not sent');
    });
    if (!this.#deps.outlivesAnswers) return sent;
    this.#sending.add(sent);
    void sent.finally(() => this.#sending.delete(sent));
  }
}

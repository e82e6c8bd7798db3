import {
  ArmatureError,
  problemSchema,
  readerOf,
  routes,
  toRequest,
  type RouteInput,
  type RouteName,
  type RouteOutput,
} from '@armature/sdk/contract';
import type { SessionLog } from '../../session/index.ts';
import { forWorker, type TokenVerifier, type VerifiedToken } from '../session-token.ts';

const ANSWER_WITHIN_MS = 10_000;
/** openpi clients ask again as soon as they are answered, at any rate. */
const MAX_HZ = 1000;

export interface OpenpiAccessOptions {
  /** Id of this worker, which tokens that clients show must be for. */
  readonly worker: string;
  /** Control plane that turns a key into a session; without it only session tokens are taken. */
  readonly apiUrl: string | undefined;
  /** Embodiment of clients that name none in their path. */
  readonly embodimentId: string | undefined;
  /** Key of clients that show none; for a machine of one's own only. */
  readonly defaultKey: string | undefined;
  /** For any worker: what a key is exchanged for stays in this process, wherever sessions are placed. */
  readonly verify: TokenVerifier;
}

/** What an openpi client may do here. */
export interface OpenpiGrant {
  readonly token: VerifiedToken;
  /** A later token of the same session; absent where the client brought its own. */
  readonly renew?: () => Promise<VerifiedToken>;
  /** Ends the session that was made for this connection. */
  readonly end?: () => Promise<void>;
}

/** Ends the session that was made for a client, if one was; one that stays open is logged. */
export function endGrant(grant: OpenpiGrant, log: SessionLog): void {
  grant.end?.().catch((error: unknown) => {
    log.warn({ err: error, session: grant.token.claims.sub }, 'a session stays open');
  });
}

/**
 * Lets openpi clients in. They hold an API key (`Authorization: Api-Key …`) and know no sessions:
 * the key is exchanged at the control plane for one that lasts as long as their socket. A session
 * token in the key's place is taken as it is. The path `/openpi/<embodiment id>` names the embodiment.
 */
export class OpenpiAccess {
  private readonly options: OpenpiAccessOptions;

  constructor(options: OpenpiAccessOptions) {
    this.options = options;
  }

  /** @throws ArmatureError as the control plane refuses, `missing_key`, `invalid_request`. */
  async open(authorization: string | undefined, pathname: string): Promise<OpenpiGrant> {
    const shown = /^(?:Api-Key|Bearer) +(\S+)$/i.exec(authorization ?? '')?.[1];
    const key = shown ?? this.options.defaultKey;
    if (key === undefined) {
      throw new ArmatureError('missing_key', 'the request carries no key', {
        field: 'Authorization',
        fix: 'Give the client an API key with the scope robot.',
      });
    }
    const { verify, worker } = this.options;
    if (key.split('.').length === 3) return { token: await forWorker(verify, worker)(key) };
    const embodiment = await this.embodimentOf(pathname, key);
    const grant = await this.call('sessions.create', key, {
      robot: 'openpi',
      embodiment_id: embodiment,
      max_hz: MAX_HZ,
    });
    const { id } = grant.session;
    const end = async (): Promise<void> => {
      await this.call('sessions.end', key, { id });
    };
    const token = await verify(grant.token).catch(async (error: unknown) => {
      await end();
      throw error;
    });
    return {
      token,
      renew: async () => verify((await this.call('sessions.resume', key, { id, worker })).token),
      end,
    };
  }

  private async embodimentOf(pathname: string, key: string): Promise<string> {
    const named = /^\/openpi\/([\w-]{1,80})\/?$/.exec(pathname)?.[1] ?? this.options.embodimentId;
    if (named !== undefined) return named;
    const { items } = await this.call('embodiments.list', key, { limit: 200 });
    const served = items.filter((item) => item.active_policy_version_id !== null);
    const [only] = served;
    if (only !== undefined && served.length === 1) return only.id;
    throw new ArmatureError(
      'invalid_request',
      `${served.length} embodiments of this key have a deployed policy`,
      { field: 'path', fix: 'Connect to /openpi/<embodiment id> of the one that is meant.' },
    );
  }

  private async call<N extends RouteName>(
    name: N,
    key: string,
    input: RouteInput<N>,
  ): Promise<RouteOutput<N>> {
    const { apiUrl } = this.options;
    if (apiUrl === undefined) {
      throw new ArmatureError('invalid_token', 'this worker takes session tokens only', {
        field: 'Authorization',
        fix: 'Use the token of sessions.create as the key.',
      });
    }
    const { method, path, output } = routes[name];
    const request = toRequest(method, path, input);
    const answer = await fetch(new URL(request.path, apiUrl), {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(request.body === undefined ? {} : { body: request.body }),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    }).catch((cause: unknown) => {
      throw unreachable(cause);
    });
    const body: unknown = await answer.json().catch((cause: unknown) => {
      throw unreachable(cause);
    });
    if (answer.ok) return readerOf(output).parse(body) as RouteOutput<N>;
    const problem = readerOf(problemSchema).safeParse(body);
    throw problem.success ? ArmatureError.fromProblem(problem.data) : unreachable(body);
  }
}

function unreachable(cause: unknown): ArmatureError {
  return new ArmatureError('unavailable', 'the control plane cannot be reached', {
    fix: 'Connect again in a moment.',
    cause,
  });
}

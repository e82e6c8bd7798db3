import { randomUUID } from 'node:crypto';
import { ArmatureError, type SessionGrant } from '@armature/sdk/contract';
import type { SessionLog } from '../../session/index.ts';
import { forWorker, type TokenVerifier, type VerifiedToken } from '../session-token.ts';
import { ControlPlane, mayHaveHappened, type ControlPlaneOptions } from './control-plane.ts';

/** openpi clients ask again as soon as they are answered, at any rate. */
const MAX_HZ = 1000;

/** The control plane turns a key into a session; without one only session tokens are taken. */
export interface OpenpiAccessOptions extends ControlPlaneOptions {
  /** Id of this worker, which tokens that clients show must be for. */
  readonly worker: string;
  /** Embodiment of clients that name none in their path. */
  readonly embodimentId: string | undefined;
  /** Key of clients that show none; for a machine of one's own only. */
  readonly defaultKey: string | undefined;
  /** For any worker: what a key is exchanged for stays in this process, wherever sessions are placed. */
  readonly verify: TokenVerifier;
  readonly log: Pick<SessionLog, 'warn'>;
}

/** What an openpi client may do here. */
export interface OpenpiGrant {
  readonly token: VerifiedToken;
  /** A later token of the same session; absent where the client brought its own. */
  readonly renew?: () => Promise<VerifiedToken>;
  /** Ends the session that was made for this connection, in its own time. */
  readonly end?: () => void;
}

/**
 * Lets openpi clients in. They hold an API key (`Authorization: Api-Key …`) and know no sessions:
 * the key is exchanged at the control plane for one that lasts as long as their socket. A session
 * token in the key's place is taken as it is. The path `/openpi/<embodiment id>` names the embodiment.
 */
export class OpenpiAccess {
  private readonly options: OpenpiAccessOptions;
  private readonly cloud: ControlPlane;

  constructor(options: OpenpiAccessOptions) {
    this.options = options;
    this.cloud = new ControlPlane(options);
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
    const { session, token } = await this.create(key, await this.embodimentOf(pathname, key));
    const { id } = session;
    const end = () => this.inTheEnd(this.end(key, id), id);
    return {
      token: await verify(token).catch((error: unknown) => {
        end();
        throw error;
      }),
      renew: async () => {
        const renewed = await this.cloud.call('sessions.resume', key, { id, worker });
        return verify(renewed.token);
      },
      end,
    };
  }

  /** A session whose answer was lost is found and ended: nobody would use it, and it counts as a robot. */
  private async create(key: string, embodimentId: string): Promise<SessionGrant> {
    const once = randomUUID();
    const input = { robot: 'openpi', embodiment_id: embodimentId, max_hz: MAX_HZ };
    const create = () => this.cloud.call('sessions.create', key, input, once);
    return create().catch((error: unknown) => {
      if (mayHaveHappened(error)) {
        const found = this.cloud.insist(create);
        this.inTheEnd(found.then(({ session }) => this.end(key, session.id)));
      }
      throw error;
    });
  }

  private async end(key: string, id: string): Promise<void> {
    await this.cloud.insist(() => this.cloud.call('sessions.end', key, { id }));
  }

  /** What stays open all the same, the control plane ends once it has been idle for long. */
  private inTheEnd(ended: Promise<void>, session?: string): void {
    ended.catch((err: unknown) => {
      this.options.log.warn({ err, session }, 'a session may stay open');
    });
  }

  private async embodimentOf(pathname: string, key: string): Promise<string> {
    const named = /^\/openpi\/([\w-]{1,80})\/?$/.exec(pathname)?.[1] ?? this.options.embodimentId;
    if (named !== undefined) return named;
    const { items } = await this.cloud.call('embodiments.list', key, { limit: 200 });
    const served = items.filter((item) => item.active_policy_version_id !== null);
    const [only] = served;
    if (only !== undefined && served.length === 1) return only.id;
    throw new ArmatureError(
      'invalid_request',
      `${served.length} embodiments of this key have a deployed policy`,
      { field: 'path', fix: 'Connect to /openpi/<embodiment id> of the one that is meant.' },
    );
  }
}

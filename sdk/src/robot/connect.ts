import {
  ArmatureError,
  type Chunking,
  type SessionGrant,
  type WireReasoning,
} from '../../contract/index.ts';
import type { Armature, ClientInput } from '../client.ts';
import type { EmbodimentShape } from './embodiment.ts';
import type { ReconnectOptions, ResumeWishes, SessionStatus } from './link.ts';
import { realPorts } from './ports.ts';
import { RobotSession } from './session.ts';

interface CommonOptions<S extends EmbodimentShape> {
  /** The robot's embodiment; from `defineEmbodiment` its names are checked at compile time. */
  readonly embodiment: S;
  /** Longest wait for the socket, ms; 10,000 unless told. */
  readonly connectTimeoutMs?: number;
  /** Longest silence while the worker loads the policy, ms; 60,000 unless told. */
  readonly loadingTimeoutMs?: number;
  /** Longest wait for a chunk, ms; 10,000 unless told. */
  readonly requestTimeoutMs?: number;
  /**
   * Real-time chunking: `{ mode: 'guided' }` makes every chunk go on from the one in execution, which
   * the worker knows by what `run` or `report` tells; `pulled_back` does it through the network, for workers
   * that have graphs for it; `{ mode: 'trained' }` does it for versions whose fine-tune had
   * `prefix_delay_max`. Off unless told; `welcome.chunking` has the modes.
   */
  readonly chunking?: Chunking;
  readonly reconnect?: Partial<ReconnectOptions>;
  readonly onStatus?: (status: SessionStatus, detail: string) => void;
  /**
   * Reasonings that are made beside the chunks (cadences `interval` and `change`), as soon as they are
   * there; the worker sends them only where this is given.
   */
  readonly onReasoning?: (reasoning: WireReasoning) => void;
  /** Errors that no call waits for: a refused token, an attempt to reconnect that failed. */
  readonly onError?: (error: ArmatureError) => void;
}

/** Creates a session with a key of the tenant, or takes one on; renews and reconnects by itself. */
export interface ConnectWithClient<S extends EmbodimentShape> extends CommonOptions<S> {
  readonly client: Armature;
  /** What to create; or `grant`. */
  readonly session?: ClientInput<'sessions.create'>;
  readonly grant?: SessionGrant;
}

/** Takes on a session that somebody with a key created, so that the robot holds no key. */
export interface ConnectWithGrant<S extends EmbodimentShape> extends CommonOptions<S> {
  readonly client?: never;
  readonly grant: SessionGrant;
  /**
   * Fetches a new grant (`sessions.resume` with these wishes); without it the session lasts as long as its
   * token and its socket.
   */
  readonly resume?: (wishes?: ResumeWishes) => Promise<SessionGrant>;
}

/**
 * Connects a robot and waits until its policy is ready.
 * @throws ArmatureError `embodiment_mismatch` when the session is for another robot, `unavailable`,
 *   `timeout`, or as control plane and worker refuse.
 */
export async function connectRobot<const S extends EmbodimentShape>(
  options: ConnectWithClient<S> | ConnectWithGrant<S>,
): Promise<RobotSession<S>> {
  const { client } = options;
  const grant = options.grant ?? (await create(options));
  const { id } = grant.session;
  const created = options.grant === undefined;
  return RobotSession.open({
    embodiment: options.embodiment,
    grant,
    resume:
      client === undefined ? options.resume : (wishes) => client.sessions.resume({ id, ...wishes }),
    end:
      client === undefined || !created
        ? undefined
        : async () => {
            await client.sessions.end({ id });
          },
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    loadingTimeoutMs: options.loadingTimeoutMs ?? 60_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 10_000,
    reconnect: { baseMs: 250, maxMs: 10_000, giveUpAfterMs: 120_000, ...options.reconnect },
    chunking: options.chunking,
    onReasoning: options.onReasoning,
    onStatus: options.onStatus,
    onError: options.onError,
    ports: realPorts,
  });
}

async function create<S extends EmbodimentShape>(
  options: ConnectWithClient<S> | ConnectWithGrant<S>,
): Promise<SessionGrant> {
  if (options.client !== undefined && options.session !== undefined) {
    return options.client.sessions.create(options.session);
  }
  throw new ArmatureError('invalid_request', 'there is no session to connect to', {
    field: 'session',
    fix: 'Give `session` to create one, or the `grant` of one.',
  });
}

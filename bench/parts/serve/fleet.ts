import path from 'node:path';
import { writeLeRobot } from '@armature/datasets';
import {
  Armature,
  connectRobot,
  pushDataset,
  type RobotSession,
  waitForFinetune,
} from '@armature/sdk';
import type { EmbodimentSpec, SessionGrant } from '@armature/sdk/contract';
import { recordDemos, trio } from '@armature/sim';
import sharp from 'sharp';

const SIDE = 224;

/** Two 224-pixel JPEGs an observation: an external and a wrist view. */
export const spec: EmbodimentSpec = {
  ...trio.spec,
  name: 'bench',
  cameras: trio.spec.cameras.map((camera) => ({ ...camera, width: SIDE, height: SIDE })),
};

export type Reasoning = 'off' | 'every_chunk';
export type Robot = RobotSession<EmbodimentSpec>;

/** A tenant with a deployed version, and what its robots see. */
export interface Served {
  readonly client: Armature;
  readonly embodimentId: string;
  readonly datasetId: string;
  readonly jpeg: Uint8Array;
  /** The same picture, RGB [224, 224, 3]. */
  readonly pixels: Uint8Array;
}

/** One tenant's own key. */
export async function newTenant(
  platform: { readonly apiUrl: string; readonly platformKey: string },
  name: string,
): Promise<Armature> {
  const { apiUrl, platformKey } = platform;
  const operator = new Armature({ apiUrl, apiKey: platformKey });
  const { secret } = await operator.tenants.create({ name });
  return new Armature({ apiUrl, apiKey: secret, announce: false });
}

/** A deployed version with a fresh head, which is as fast as a trained one. */
export async function prepare(client: Armature, scratch: string): Promise<Served> {
  const { id: embodimentId } = await client.embodiments.create({ spec });
  const dir = path.join(scratch, `recorded-${embodimentId}`);
  await writeLeRobot(dir, {
    robotType: spec.name,
    fps: spec.control_hz,
    stateNames: spec.state.map((joint) => joint.name),
    actionNames: spec.action.map((joint) => joint.name),
    cameras: spec.cameras,
    episodes: enlarged(),
  });
  const dataset = await pushDataset({ client, dir, name: 'bench', embodimentId, pollMs: 100 });
  const version = await newVersion({ client, datasetId: dataset.id }, 0);
  await client.policies.deploy({ id: version });
  for await (const { frames } of enlarged()) {
    const [pixels] = Object.values(frames)[0] ?? [];
    if (pixels === undefined) throw new Error('an episode has pictures');
    const jpeg = await picture(pixels, SIDE).jpeg({ quality: 90 }).toBuffer();
    return { client, embodimentId, datasetId: dataset.id, jpeg, pixels };
  }
  throw new Error('there is an episode');
}

/** Another version of the same embodiment; returns its id. */
export async function newVersion(
  { client, datasetId }: Pick<Served, 'client' | 'datasetId'>,
  seed: number,
): Promise<string> {
  const job = await client.finetunes.create({
    name: `bench ${seed}`,
    dataset_id: datasetId,
    options: { mode: 'head', steps: 0, seed },
  });
  const done = await waitForFinetune({ client, id: job.id, pollMs: 100 });
  if (done.policy_version_id === null) throw new Error('the fine-tune gave no policy version');
  return done.policy_version_id;
}

export interface ConnectOptions {
  readonly reasoning: Reasoning;
  readonly version?: string;
  /** Takes the way to the worker into its hands. */
  readonly route?: (grant: SessionGrant) => SessionGrant;
}

const straight = (grant: SessionGrant): SessionGrant => grant;

/** What a robot connects with. */
export async function granted(
  { client, embodimentId }: Pick<Served, 'client' | 'embodimentId'>,
  { reasoning, version }: Pick<ConnectOptions, 'reasoning' | 'version'>,
): Promise<SessionGrant> {
  return client.sessions.create({
    robot: 'bench',
    embodiment_id: embodimentId,
    ...(version === undefined ? {} : { policy_version_id: version }),
    reasoning: { when: reasoning },
    max_hz: 1000,
  });
}

/** A session of one robot, ready to act. */
export async function connect(served: Served, options: ConnectOptions): Promise<Robot> {
  const { client } = served;
  const route = options.route ?? straight;
  const grant = await granted(served, options);
  const { id } = grant.session;
  return connectRobot({
    embodiment: spec,
    grant: route(grant),
    resume: async () => route(await client.sessions.resume({ id })),
    reconnect: { baseMs: 10, maxMs: 1_000 },
    connectTimeoutMs: 60_000,
    requestTimeoutMs: 60_000,
  });
}

/** Ends a robot's session. */
export async function leave({ client }: Served, robot: Robot): Promise<void> {
  const { id } = robot;
  await robot.close();
  await client.sessions.end({ id });
}

/** What a robot sees, as JPEG or as raw pixels. */
export function seen(
  { jpeg, pixels }: Pick<Served, 'jpeg' | 'pixels'>,
  how: 'jpeg' | 'pixels' = 'jpeg',
) {
  const shown = how === 'jpeg' ? { jpeg } : { pixels };
  return {
    instruction: 'bench',
    state: new Float32Array(spec.state.length),
    images: Object.fromEntries(spec.cameras.map(({ name }) => [name, shown])),
  };
}

/** A demonstration of the simulator with its pictures enlarged. */
async function* enlarged() {
  for await (const episode of recordDemos({ embodiment: trio, episodes: 1, seed: 1 })) {
    const frames: Record<string, Uint8Array[]> = {};
    for (const { name, width } of trio.spec.cameras) {
      const own = episode.frames[name] ?? [];
      frames[name] = await Promise.all(
        own.map((pixels) => picture(pixels, width).resize(SIDE, SIDE).raw().toBuffer()),
      );
    }
    yield { ...episode, frames };
  }
}

function picture(pixels: Uint8Array, side: number): ReturnType<typeof sharp> {
  return sharp(pixels, { raw: { width: side, height: side, channels: 3 } });
}

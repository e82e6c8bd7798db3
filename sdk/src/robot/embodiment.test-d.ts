import type { EmbodimentSpec } from '../../contract/index.ts';
import { arm, jpeg, seen } from '../testing/two-joint-arm.ts';
import type { Chunk } from './chunk.ts';
import { defineEmbodiment, type ActionJoint, type CameraName } from './embodiment.ts';
import type { Observation } from './observation.ts';
import type { RobotSession } from './session.ts';

// Never run: `npm run check:types` fails where one of these lines compiles, or does not, against
// what it says.
export async function follows(session: RobotSession<typeof arm>, chunk: Chunk<typeof arm>) {
  await session.act(seen());
  await session.act({ ...seen(), state: new Float32Array(3), instruction: 'lift the cup' });
  const top = { jpeg };
  const wrist = { jpeg };
  const state = { shoulder: 0, elbow: 0, gripper: 0 };

  // @ts-expect-error a camera that the arm has not
  await session.act({ images: { top, wrist, side: top }, state });
  // @ts-expect-error a camera is missing
  await session.act({ images: { top }, state });
  // @ts-expect-error a joint that the arm has not
  await session.act({ images: { top, wrist }, state: { ...state, knee: 1 } });
  // @ts-expect-error a joint is missing
  await session.act({ images: { top, wrist }, state: { shoulder: 0, elbow: 0 } });
  // @ts-expect-error a picture is JPEG or pixels
  await session.act({ images: { top, wrist: { png: jpeg } }, state });
  // @ts-expect-error a joint's value is a number
  await session.act({ images: { top, wrist }, state: { ...state, elbow: '0' } });

  const shoulder: number | undefined = chunk.rows[0]?.shoulder;
  // @ts-expect-error the elbow is felt, not commanded
  const elbow: unknown = chunk.rows[0]?.elbow;
  session.report(chunk, 1, { shoulder: 0, gripper: 1 });
  // @ts-expect-error a command names every action joint
  session.report(chunk, 1, { shoulder: 0 });

  await session.run({
    observe: () => seen(),
    execute: (row) => {
      row satisfies { readonly shoulder: number; readonly gripper: number };
      // @ts-expect-error no such joint
      String(row.wrist);
    },
  });
  await session.run({ observe: async () => seen(), execute: async (row) => row });
  // @ts-expect-error the filtered command lacks a joint
  await session.run({ observe: () => seen(), execute: (row) => ({ shoulder: row.shoulder }) });

  return [shoulder, elbow];
}

export const camera: CameraName<typeof arm> = 'wrist';
// @ts-expect-error no such camera
export const noCamera: CameraName<typeof arm> = 'side';
export const joint: ActionJoint<typeof arm> = 'gripper';
// @ts-expect-error a joint of the state only
export const noJoint: ActionJoint<typeof arm> = 'elbow';

// @ts-expect-error a spec lacks its cameras
export const blind = () => defineEmbodiment({ ...arm, cameras: undefined });

/** A spec that is known at run time only takes any names. */
export function unnamed(spec: EmbodimentSpec): Observation<typeof spec> {
  return {
    images: Object.fromEntries(spec.cameras.map(({ name }) => [name, { jpeg }])),
    state: new Float32Array(spec.state.length),
  };
}

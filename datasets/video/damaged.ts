import { ArmatureError } from '@armature/sdk/contract';

/** What a video or picture that cannot be read is refused with; `status` is FFmpeg's. */
export function damaged(name: string, problem: string, status?: number): ArmatureError {
  const detail = status === undefined ? '' : ` (FFmpeg error ${status})`;
  return new ArmatureError('invalid_dataset', `${name} ${problem}${detail}`, {
    field: name,
    fix: `Record or export ${name} again.`,
  });
}

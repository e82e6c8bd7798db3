import { ArmatureError } from '@armature/sdk/contract';
import type { Dataset } from './dataset.ts';
import { INFO_PATH, parseInfo } from './lerobot/info.ts';
import { readText } from './lerobot/lines.ts';
import { openLeRobotV21 } from './lerobot/v21.ts';
import type { BlobSource } from './source/blob-source.ts';

/**
 * Opens a set of demonstrations; `codebase_version` in `meta/info.json` says which layout it has.
 * Reads the description only; episodes are read when asked for.
 * @throws ArmatureError `invalid_dataset` naming file, field and fix.
 */
export async function openDataset(source: BlobSource): Promise<Dataset> {
  const info = parseInfo(await readText(source, INFO_PATH));
  if (info.codebase_version === 'v2.1') return await openLeRobotV21(source, info);
  throw new ArmatureError(
    'invalid_dataset',
    `LeRobot ${info.codebase_version} is not supported; v2.1 is`,
    {
      field: 'codebase_version',
      fix: 'Convert the data set to LeRobot v2.1.',
    },
  );
}

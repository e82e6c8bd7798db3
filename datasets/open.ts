import { ArmatureError } from '@armature/sdk/contract';
import { openAloha } from './aloha/aloha.ts';
import type { Dataset } from './dataset.ts';
import { INFO_PATH, parseInfo } from './lerobot/info.ts';
import { openLeRobotV2 } from './lerobot/v2.ts';
import { openLeRobotV3 } from './lerobot/v3.ts';
import { openMcap } from './mcap/mcap.ts';
import type { BlobSource } from './source/blob-source.ts';
import { readText } from './source/text-file.ts';

/**
 * Opens a set of demonstrations: LeRobot where there is a `meta/info.json`, whose
 * `codebase_version` says which layout it has; else ALOHA's HDF5 or MCAP, one file an episode.
 * Reads the description only; episodes are read when asked for.
 * @throws ArmatureError `invalid_dataset` naming file, field and fix.
 */
export async function openDataset(source: BlobSource): Promise<Dataset> {
  if ((await source.size(INFO_PATH)) === null) {
    const paths = await source.list();
    const hdf5 = paths.filter((path) => /\.(hdf5|h5)$/i.test(path));
    const mcap = paths.filter((path) => /\.mcap$/i.test(path));
    if (hdf5.length > 0 && mcap.length > 0) throw mixed();
    if (hdf5.length > 0) return await openAloha(source, byNumber(hdf5));
    if (mcap.length > 0) return await openMcap(source, byNumber(mcap));
  }
  return await openLeRobot(source);
}

/** `episode_2` comes before `episode_10`. */
function byNumber(paths: readonly string[]): string[] {
  return [...paths].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

function mixed(): ArmatureError {
  return new ArmatureError('invalid_dataset', 'the data set has HDF5 files and MCAP files', {
    field: 'files',
    fix: 'Upload recordings of one format as one data set.',
  });
}

async function openLeRobot(source: BlobSource): Promise<Dataset> {
  const info = parseInfo(await readText(source, INFO_PATH));
  switch (info.codebase_version) {
    case 'v2.0':
    case 'v2.1':
      return await openLeRobotV2(source, info);
    case 'v3.0':
      return await openLeRobotV3(source, info);
    default:
      throw new ArmatureError(
        'invalid_dataset',
        `LeRobot ${info.codebase_version} is not supported; v2.0, v2.1 and v3.0 are`,
        { field: 'codebase_version', fix: 'Convert the data set to LeRobot v3.0.' },
      );
  }
}

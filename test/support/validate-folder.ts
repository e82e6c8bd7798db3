/**
 * Validates the set of a folder in a process of its own, and prints its frames and its peak resident memory in MiB.
 * `node --import tsx validate-folder.ts FOLDER SPEC`, SPEC as JSON.
 */
import { fromDirectory, validateSource } from '@armature/datasets';
import { embodimentSpecSchema } from '@armature/sdk/contract';

const [folder = '', spec = ''] = process.argv.slice(2);
const report = await validateSource(
  fromDirectory(folder),
  embodimentSpecSchema.parse(JSON.parse(spec)),
  { lanes: 1 },
);
if (report.stats === null) throw new Error(JSON.stringify(report.findings));
process.stdout.write(
  JSON.stringify({ frames: report.frames, peakMib: process.resourceUsage().maxRSS / 1024 }),
);

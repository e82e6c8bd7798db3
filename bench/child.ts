import { parseArgs } from 'node:util';
import { z } from 'zod';
import { measureIngest } from './parts/ingest.ts';
import { measureModel } from './parts/model.ts';
import { measureServe } from './parts/serve.ts';
import { measureTrain } from './parts/train.ts';
import {
  type Figure,
  type PartName,
  partNames,
  type PartOptions,
  type PartResult,
} from './result.ts';

const measures: Record<PartName, (options: PartOptions) => Promise<Figure[]>> = {
  model: measureModel,
  serve: measureServe,
  ingest: measureIngest,
  train: measureTrain,
};

const { values } = parseArgs({
  options: {
    part: { type: 'string' },
    threads: { type: 'string' },
    scratch: { type: 'string' },
    dataset: { type: 'string' },
  },
});
const options = z
  .object({
    part: z.enum(partNames),
    threads: z.coerce.number().int().min(1),
    scratch: z.string(),
    dataset: z.string().optional(),
  })
  .parse(values);

const figures = await measures[options.part]({
  threads: options.threads,
  scratch: options.scratch,
  dataset: options.dataset ?? null,
});
const result: PartResult = {
  figures,
  peak_rss_mb: (process.resourceUsage().maxRSS * 1024) / 1e6,
};
process.send?.(result, undefined, {}, () => process.disconnect());

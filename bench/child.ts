import { parseArgs } from 'node:util';
import { z } from 'zod';
import { measureApi } from './parts/api/index.ts';
import { measureFrozen } from './parts/frozen.ts';
import { measureIngest } from './parts/ingest.ts';
import { measureModel } from './parts/model/index.ts';
import { measureRtc } from './parts/rtc.ts';
import { measureServe } from './parts/serve/index.ts';
import { measureSteps } from './parts/steps.ts';
import { measureTrain } from './parts/train.ts';
import {
  largeOptionsSchema,
  type Figure,
  type PartMeasurement,
  type PartName,
  partNames,
  type PartOptions,
  type PartResult,
} from './result.ts';

const only = async (figures: Promise<Figure[]>): Promise<PartMeasurement> => ({
  figures: await figures,
});
const measures: Record<PartName, (options: PartOptions) => Promise<PartMeasurement>> = {
  model: measureModel,
  serve: measureServe,
  ingest: (options) => only(measureIngest(options)),
  train: (options) => only(measureTrain(options)),
  api: measureApi,
  rtc: (options) => only(measureRtc(options)),
  steps: measureSteps,
  frozen: measureFrozen,
};

const { values } = parseArgs({
  options: {
    part: { type: 'string' },
    threads: { type: 'string' },
    scratch: { type: 'string' },
    dataset: { type: 'string' },
    large: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
});
const options = z
  .object({
    part: z.enum(partNames),
    threads: z.coerce.number().int().min(1),
    scratch: z.string(),
    dataset: z.string().optional(),
    large: z.string().optional(),
    quick: z.boolean(),
  })
  .parse(values);

const { figures, summary = {} } = await measures[options.part]({
  threads: options.threads,
  scratch: options.scratch,
  dataset: options.dataset ?? null,
  large: options.large === undefined ? null : largeOptionsSchema.parse(JSON.parse(options.large)),
  quick: options.quick,
});
const result: PartResult = {
  figures,
  summary,
  peak_rss_mb: (process.resourceUsage().maxRSS * 1024) / 1e6,
};
process.send?.(result, undefined, {}, () => process.disconnect());

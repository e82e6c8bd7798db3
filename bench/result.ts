import { z } from 'zod';

export const partNames = [
  'model',
  'serve',
  'ingest',
  'train',
  'api',
  'rtc',
  'steps',
  'frozen',
] as const;
export type PartName = (typeof partNames)[number];

/** One measured figure. */
export const figureSchema = z.strictObject({
  name: z.string(),
  value: z.number(),
  unit: z.string(),
});
export type Figure = z.infer<typeof figureSchema>;

/** What a part's process sends when it is done. */
export const partResultSchema = z.strictObject({
  figures: z.array(figureSchema),
  /** Figures that others look for by name; they stand at the top of the JSON. */
  summary: z.record(z.string(), z.record(z.string(), z.number())),
  /** Of the part's process, MB (10^6 bytes). */
  peak_rss_mb: z.number(),
});
export type PartResult = z.infer<typeof partResultSchema>;

/** What a part measures. */
export interface PartMeasurement {
  readonly figures: Figure[];
  readonly summary?: PartResult['summary'];
}

/** What a comparison with somebody else's code adds to a part; nothing where that is not installed. */
export interface Compared {
  readonly figures: Figure[];
  readonly ratios: Record<string, number>;
}

export const largeNames = ['2b', '7b', '72b', 'tiny'] as const;
export const providers = ['cpu', 'cuda', 'webgpu'] as const;
export const cardNames = ['a6000', 'rtx4090', 'l40s', 'h100'] as const;
export const largeFormats = ['float32', 'float16', 'int8', 'int4'] as const;

/** A model of published sizes with random weights, in place of `nano`. */
export const largeOptionsSchema = z.strictObject({
  preset: z.enum(largeNames),
  provider: z.enum(providers),
  weights: z.enum(largeFormats),
  /** Whose limits stand beside what is measured; the measured product rate’s without it. */
  card: z.enum(cardNames).nullable(),
  /** At most so many layers of the language model and of the vision encoder. */
  layers: z.number().int().min(1).nullable(),
});
export type LargeOptions = z.infer<typeof largeOptionsSchema>;

/** What a part may know. */
export interface PartOptions {
  readonly threads: number;
  /** Just enough to see that it works. */
  readonly quick: boolean;
  /** A LeRobot set for `ingest`; null: one is recorded in the simulator. */
  readonly dataset: string | null;
  /** `model`: this alone. */
  readonly large: LargeOptions | null;
  /** A folder of the part's own, removed afterwards. */
  readonly scratch: string;
}

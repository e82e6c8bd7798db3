import { z } from 'zod';

export const partNames = ['model', 'serve', 'ingest', 'train', 'api', 'rtc'] as const;
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

/** What a part may know. */
export interface PartOptions {
  readonly threads: number;
  /** Just enough to see that it works. */
  readonly quick: boolean;
  /** A LeRobot set for `ingest`; null: one is recorded in the simulator. */
  readonly dataset: string | null;
  /** A folder of the part's own, removed afterwards. */
  readonly scratch: string;
}

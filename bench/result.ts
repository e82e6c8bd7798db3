import { z } from 'zod';

export const partNames = ['model', 'serve', 'ingest', 'train'] as const;
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
  /** Of the part's process, MB (10^6 bytes). */
  peak_rss_mb: z.number(),
});
export type PartResult = z.infer<typeof partResultSchema>;

/** What a part may know. */
export interface PartOptions {
  readonly threads: number;
  /** A LeRobot set for `ingest`; null: one is recorded in the simulator. */
  readonly dataset: string | null;
  /** A folder of the part's own, removed afterwards. */
  readonly scratch: string;
}

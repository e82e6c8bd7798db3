import { parquetWriteBuffer } from 'hyparquet-writer';
import type { UsageLine } from '../../contract/index.ts';
import type { Armature, ClientInput } from '../client.ts';
import type { CallOptions } from '../http.ts';

export const usageFormats = ['csv', 'parquet'] as const;
export type UsageFormat = (typeof usageFormats)[number];

/** Columns of an export, in order, with their parquet types. */
const columns = {
  id: 'STRING',
  window_at: 'TIMESTAMP',
  session_id: 'STRING',
  robot: 'STRING',
  policy_version_id: 'STRING',
  finetune_id: 'STRING',
  chunks: 'INT64',
  actions: 'INT64',
  reasoning_tokens: 'INT64',
  compute_ms: 'DOUBLE',
  training_ms: 'DOUBLE',
  // An exact decimal, which a floating-point number is not.
  cost: 'STRING',
  price_sheet: 'STRING',
} as const satisfies Record<keyof UsageLine, 'STRING' | 'TIMESTAMP' | 'INT64' | 'DOUBLE'>;
const names = Object.keys(columns) as (keyof UsageLine)[];

/**
 * Every closed window of a period, newest first, as a file.
 * @throws ArmatureError as `usage.lines` does.
 */
export async function exportUsage(
  client: Pick<Armature, 'usage'>,
  format: UsageFormat,
  period: Pick<ClientInput<'usage.lines'>, 'from' | 'to'> = {},
  options?: CallOptions,
): Promise<Uint8Array> {
  const lines: UsageLine[] = [];
  for await (const line of client.usage.linesAll({ ...period, limit: 200 }, options)) {
    lines.push(line);
  }
  return format === 'csv' ? new TextEncoder().encode(csv(lines)) : parquet(lines);
}

/** RFC 4180, with a head. */
function csv(lines: readonly UsageLine[]): string {
  const rows = lines.map((line) => names.map((name) => csvField(line[name])).join(','));
  return [names.join(','), ...rows, ''].join('\r\n');
}

function csvField(value: string | number | null): string {
  const text = value === null ? '' : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function parquet(lines: readonly UsageLine[]): Uint8Array {
  const columnData = names.map((name) => {
    const type = columns[name];
    const data = lines.map((line) => {
      const value = line[name];
      if (type === 'TIMESTAMP' && typeof value === 'string') return new Date(value);
      return type === 'INT64' && typeof value === 'number' ? BigInt(value) : value;
    });
    return { name, type, data, nullable: true };
  });
  return new Uint8Array(parquetWriteBuffer({ columnData }));
}

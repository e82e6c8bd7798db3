import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ArmatureError, priceSheetSchema, type PriceSheet } from '@armature/sdk/contract';
import { z } from 'zod';
import { picoOf, type Pico } from './money.ts';

/** What is priced, in whole units. */
export interface Quantities {
  readonly chunks: number;
  readonly actions: number;
  readonly reasoningTokens: number;
  readonly computeUs: number;
  readonly trainingUs: number;
}

/** Amount of each unit, `Us` for a microsecond. */
type UnitPrices = { readonly [K in keyof Quantities]: Pico };

const MICROSECONDS = 1_000_000n;

/** All sheets, oldest first; each holds from its `valid_from` to that of the next. */
export class PriceSheets {
  readonly sheets: readonly PriceSheet[];
  readonly #units: readonly UnitPrices[];

  /** @throws Error for sheets that are not in order, of several currencies or of no exact price. */
  constructor(sheets: readonly PriceSheet[]) {
    if (sheets.length === 0) throw new Error('there is no price sheet');
    sheets.forEach((sheet, index) => {
      const before = sheets[index - 1];
      if (before === undefined) return;
      if (before.valid_from >= sheet.valid_from || before.currency !== sheet.currency) {
        throw new Error(`price sheet ${sheet.version} does not follow ${before.version}`);
      }
    });
    this.sheets = sheets;
    this.#units = sheets.map(unitPrices);
  }

  get currency(): string {
    return this.at(0).currency;
  }

  /** Instants from which each sheet but the first holds. */
  get changes(): readonly string[] {
    return this.sheets.slice(1).map((sheet) => sheet.valid_from);
  }

  /** The sheet with this number, 0 for the oldest. */
  at(index: number): PriceSheet {
    const sheet = this.sheets[index];
    if (sheet === undefined) throw new Error(`there is no price sheet ${index}`);
    return sheet;
  }

  /** Number of the sheet that holds at an instant. */
  indexAt(instant: Date): number {
    return this.changes.filter((from) => new Date(from) <= instant).length;
  }

  /** What the quantities cost by the sheet with this number. */
  cost(index: number, used: Quantities): Pico {
    const units = this.#units[index];
    if (units === undefined) throw new Error(`there is no price sheet ${index}`);
    return (Object.keys(units) as (keyof Quantities)[]).reduce(
      (sum, unit) => sum + units[unit] * BigInt(used[unit]),
      0n,
    );
  }
}

function unitPrices({ version, prices }: PriceSheet): UnitPrices {
  const perUs = (name: 'compute_s' | 'training_s'): Pico => {
    const second = picoOf(prices[name]);
    if (second % MICROSECONDS !== 0n) {
      throw new Error(`price sheet ${version}: ${name} is not exact for a microsecond`);
    }
    return second / MICROSECONDS;
  };
  return {
    chunks: picoOf(prices.chunk),
    actions: picoOf(prices.action),
    reasoningTokens: picoOf(prices.reasoning_token),
    computeUs: perUs('compute_s'),
    trainingUs: perUs('training_s'),
  };
}

/** The sheet that ships: round figures to try the platform with, which whoever charges replaces. */
const EXAMPLE = fileURLToPath(new URL('./prices.json', import.meta.url));

/**
 * The sheets of a file, or those of the example where none is named.
 * @throws ArmatureError `invalid_request` naming PRICES_FILE, for a file that cannot be read, is no
 *   JSON, or holds no sheets in order with exact prices.
 */
export function readPriceSheets(file: string | undefined): PriceSheets {
  const path = file ?? EXAMPLE;
  try {
    return new PriceSheets(z.array(priceSheetSchema).parse(JSON.parse(readFileSync(path, 'utf8'))));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw new ArmatureError('invalid_request', `PRICES_FILE: ${path}: ${why}`, {
      field: 'PRICES_FILE',
      fix: 'Name a JSON list of price sheets, the oldest first, as api/metering/README.md has it.',
      cause,
    });
  }
}

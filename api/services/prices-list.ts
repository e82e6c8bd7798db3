import { priceSheets } from '../metering/price-sheets.ts';
import type { Service } from './context.ts';

/** Every price sheet, the oldest first. */
export const listPrices: Service<'prices.list'> = () =>
  Promise.resolve({ items: [...priceSheets.sheets] });

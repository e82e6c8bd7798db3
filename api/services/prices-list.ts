import type { Service } from './context.ts';

/** Every price sheet, the oldest first. */
export const listPrices: Service<'prices.list'> = (ctx) =>
  Promise.resolve({ items: [...ctx.prices.sheets] });

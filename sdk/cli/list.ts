import type { Context } from './context.ts';
import { given, type PageOptions } from './options.ts';
import { note, show } from './output.ts';

interface Page<T> {
  readonly items: T[];
  readonly next_cursor: string | null;
}

interface Lists<T> {
  /** One page. */
  readonly list: (input: { limit?: number; cursor?: string }) => Promise<Page<T>>;
  /** All pages. */
  readonly listAll: (input: { limit?: number }) => AsyncIterable<T>;
}

/** Lists a page, or all of them with `--all`, and says how to get the next. */
export async function showList<T>(
  context: Context,
  verbs: Lists<T>,
  options: PageOptions,
  text: (items: readonly T[]) => string,
): Promise<void> {
  const { output } = context;
  const limit = given({ limit: options.limit });
  if (options.all === true) {
    const items: T[] = [];
    for await (const item of verbs.listAll(limit)) items.push(item);
    return show(output, { items, next_cursor: null }, () => text(items));
  }
  const page = await verbs.list({ ...limit, ...given({ cursor: options.cursor }) });
  show(output, page, () => text(page.items));
  if (page.next_cursor !== null) note(output, `more: --cursor ${page.next_cursor}, or --all`);
}

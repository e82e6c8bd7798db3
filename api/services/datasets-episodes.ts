import { withTenant } from '@armature/db';
import {
  derivedPrefix,
  EPISODES_A_PAGE,
  episodesFile,
  storedEpisodesSchema,
} from '@armature/sdk/contract';
import type { Service } from './context.ts';
import { findDataset } from './find.ts';

/** How long the URLs of the pictures are good, in seconds. */
const EXPIRES_S = 3600;

/** What the validation has left of a page of episodes; nothing before it, nor of a set that it could not read. */
export const listDatasetEpisodes: Service<'datasets.episodes'> = async (ctx, { id, page }) => {
  const row = await withTenant(ctx.db, ctx.tenant, (tx) => findDataset(tx, ctx.tenant, id));
  const prefix = derivedPrefix(row.prefix);
  const expiresAt = new Date(ctx.clock().getTime() + EXPIRES_S * 1000).toISOString();
  const key = prefix + episodesFile(page);
  const isChecked = row.status === 'ready' || row.status === 'rejected';
  if (!isChecked || (await ctx.store.head(key)) === null) {
    return { items: [], next_page: null, expires_at: expiresAt };
  }
  const text = new TextDecoder().decode(await ctx.store.get(key));
  const stored = storedEpisodesSchema.parse(JSON.parse(text));
  const items = stored.map(async ({ pictures, ...episode }) => ({
    ...episode,
    pictures: await Promise.all(
      pictures.map(async ({ file, ...picture }) => ({
        ...picture,
        url: await ctx.store.presignGet(prefix + file, EXPIRES_S),
      })),
    ),
  }));
  return {
    items: await Promise.all(items),
    next_page: stored.length === EPISODES_A_PAGE ? page + 1 : null,
    expires_at: expiresAt,
  };
};

import { limitDefaults } from '@armature/sdk/contract';

/** The share of a tenant's request rate that one of its keys may take. */
export const KEY_SHARE = 0.5;

/** Requests of all keys of a tenant; a process fetches `batch` of them at a time. */
export const requestRate = {
  perSecond: limitDefaults.requests_per_s,
  burst: limitDefaults.requests_burst,
  batch: 10,
} as const;

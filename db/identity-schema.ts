import { boolean, integer, pgSchema, text } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';

/**
 * The schema `identity`: people, of no tenant, whom the API's role alone sees. Names of fields are those
 * of better-auth, names of columns the house's.
 */
export const identity = pgSchema('identity');

const changes = {
  createdAt: instant('created_at').notNull().defaultNow(),
  updatedAt: instant('updated_at').notNull().defaultNow(),
};

export const people = identity.table('people', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  email: text('email').notNull(),
  emailVerified: boolean('email_verified').notNull().default(false),
  image: text('image'),
  ...changes,
});

export const accounts = identity.table('accounts', {
  id: text('id').primaryKey(),
  userId: text('person_id').notNull(),
  providerId: text('provider_id').notNull(),
  accountId: text('account_id').notNull(),
  password: text('password'),
  accessToken: text('access_token'),
  refreshToken: text('refresh_token'),
  idToken: text('id_token'),
  accessTokenExpiresAt: instant('access_token_expires_at'),
  refreshTokenExpiresAt: instant('refresh_token_expires_at'),
  scope: text('scope'),
  ...changes,
});

export const signIns = identity.table('sign_ins', {
  id: text('id').primaryKey(),
  userId: text('person_id').notNull(),
  token: text('token').notNull(),
  expiresAt: instant('expires_at').notNull(),
  ipAddress: text('ip_address'),
  userAgent: text('user_agent'),
  ...changes,
});

export const verifications = identity.table('verifications', {
  id: text('id').primaryKey(),
  identifier: text('identifier').notNull(),
  value: text('value').notNull(),
  expiresAt: instant('expires_at').notNull(),
  ...changes,
});

/** How often something was tried since an instant. */
export const attempts = identity.table('attempts', {
  key: text('key').primaryKey(),
  count: integer('count').notNull(),
  until: instant('until').notNull(),
});

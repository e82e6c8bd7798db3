import * as z from 'zod';
import type { Scope } from './resources.ts';

const instant = z.iso.datetime();
const id = z.string().min(3).max(64);

/** Addresses are compared without regard to case, and kept in lower case. */
export const emailSchema = z.email().max(254).toLowerCase();

export const roleSchema = z.enum(['owner', 'engineer', 'operator', 'viewer']);
export type Role = z.infer<typeof roleSchema>;

/** What a person may do, as scopes that verbs ask for. */
export const roleScopes = {
  /** Everything, people and keys too. */
  owner: ['admin'],
  /** Data sets, fine-tunes, policies and robots. */
  engineer: ['write', 'robot'],
  /** Robots, with policies as they are. */
  operator: ['read', 'robot'],
  viewer: ['read'],
} as const satisfies Record<Role, readonly Scope[]>;

export const memberSchema = z.object({
  id,
  email: z.string(),
  role: roleSchema,
  created_at: instant,
  removed_at: instant.nullable(),
  /** Who signs in as this member; null for one who has a key alone. */
  person_id: id.nullable(),
});
export type Member = z.infer<typeof memberSchema>;

export const invitationSchema = z.object({
  id,
  email: z.string(),
  role: roleSchema,
  /** Id of the key or the member that invited. */
  invited_by: z.string(),
  created_at: instant,
  expires_at: instant,
  revoked_at: instant.nullable(),
  accepted_at: instant.nullable(),
  /** Whom it was accepted by. */
  member_id: id.nullable(),
});
export type Invitation = z.infer<typeof invitationSchema>;

/** Header by which a person who is signed in says for which tenant a call is. */
export const TENANT_HEADER = 'armature-tenant';

/** A person who signs in; of no tenant, and a member of any number. */
export const personSchema = z.object({
  id,
  email: z.string(),
  email_verified: z.boolean(),
  name: z.string(),
});
export type Person = z.infer<typeof personSchema>;

/** Who is signed in, and as what in which tenants. */
export const accountSchema = z.object({
  person: personSchema,
  memberships: z.array(
    z.object({
      tenant: z.object({ id, name: z.string() }),
      member_id: id,
      role: roleSchema,
      since: instant,
    }),
  ),
});
export type Account = z.infer<typeof accountSchema>;

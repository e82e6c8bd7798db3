import { z } from 'zod';
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
});
export type Member = z.infer<typeof memberSchema>;

export const invitationSchema = z.object({
  id,
  email: z.string(),
  role: roleSchema,
  /** Id of the key that invited. */
  invited_by: z.string(),
  created_at: instant,
  expires_at: instant,
  revoked_at: instant.nullable(),
  accepted_at: instant.nullable(),
  /** Whom it was accepted by. */
  member_id: id.nullable(),
});
export type Invitation = z.infer<typeof invitationSchema>;

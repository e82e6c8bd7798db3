import type { ESLint } from 'eslint';
import { boundariesRule } from './rules/boundaries.ts';
import { checkedNonNullRule } from './rules/checked-non-null.ts';
import { environmentRule } from './rules/environment.ts';
import { oneTransactionRule } from './rules/one-transaction.ts';
import { purityRule } from './rules/purity.ts';
import { systemAccessRule } from './rules/system-access.ts';

/** The house's rules by name. */
const rules = {
  boundaries: boundariesRule,
  'checked-non-null': checkedNonNullRule,
  environment: environmentRule,
  'one-transaction': oneTransactionRule,
  purity: purityRule,
  'system-access': systemAccessRule,
};

/**
 * The house's rules as an ESLint plugin. typescript-eslint types a rule's context more narrowly than
 * ESLint does, so its rules are not assignable to ESLint's own type though ESLint runs them.
 */
export const house = { meta: { name: 'house' }, rules } as unknown as ESLint.Plugin;

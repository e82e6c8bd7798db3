import { AST_NODE_TYPES, type TSESTree } from '@typescript-eslint/utils';

/** `f` of `f(…)` and of `x.f(…)`. */
export function calleeName(node: TSESTree.CallExpression): string | undefined {
  const { callee } = node;
  if (callee.type === AST_NODE_TYPES.Identifier) return callee.name;
  if (
    callee.type === AST_NODE_TYPES.MemberExpression &&
    callee.property.type === AST_NODE_TYPES.Identifier
  ) {
    return callee.property.name;
  }
  return undefined;
}

import { AST_NODE_TYPES, ESLintUtils } from '@typescript-eslint/utils';
import type ts from 'typescript';

/**
 * `!` is allowed on one thing: an element of an array of numbers, where a loop's bounds prove that
 * it is there and a check would stand in the innermost loop (`data[i]!`). Everywhere else a missing
 * value is checked for.
 */
export const checkedNonNullRule = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      unchecked: 'Check for the missing value; ! is for elements of arrays of numbers only.',
    },
  },
  create(context) {
    const services = ESLintUtils.getParserServices(context);
    const isNumeric = (type: ts.Type): boolean => {
      const checker = services.program.getTypeChecker();
      const element = checker.getNonNullableType(type);
      const text = checker.typeToString(element);
      return text === 'number' || text === 'bigint';
    };
    return {
      TSNonNullExpression: (node) => {
        const { expression } = node;
        if (
          expression.type === AST_NODE_TYPES.MemberExpression &&
          expression.computed &&
          isNumeric(services.getTypeAtLocation(expression))
        ) {
          return;
        }
        context.report({ node, messageId: 'unchecked' });
      },
    };
  },
});

import { ESLintUtils } from '@typescript-eslint/utils';
import { calleeName } from '../callee.ts';

const OPENS = new Set([
  'withTenant',
  'withSystem',
  'withPlatform',
  'inOneStatement',
  'transaction',
]);
const HANDLES = new Set([...OPENS, 'connect']);

/**
 * Nothing opens a second database handle inside a transaction: with a pool of one it waits for
 * itself for ever, and what it writes is not undone with the rest.
 */
export const oneTransactionRule = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      nested: '{{name}} opens a second handle inside a transaction: use the open tx instead.',
    },
  },
  create(context) {
    const depths: boolean[] = [];
    return {
      CallExpression: (node) => {
        const name = calleeName(node);
        const opens = name !== undefined && OPENS.has(name);
        if (name !== undefined && HANDLES.has(name) && depths.includes(true)) {
          context.report({ node, messageId: 'nested', data: { name } });
        }
        depths.push(
          opens && node.arguments.some((argument) => argument.type.endsWith('FunctionExpression')),
        );
      },
      'CallExpression:exit': () => {
        depths.pop();
      },
    };
  },
});

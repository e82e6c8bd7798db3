import { AST_NODE_TYPES, ESLintUtils, type TSESTree } from '@typescript-eslint/utils';
import { repositoryPath } from '../repository-path.ts';
import { isTest, isWithin } from '../target.ts';

const IMPURE = new Set([
  'Math.random',
  'Date.now',
  'performance.now',
  'process.hrtime',
  'crypto.randomUUID',
  'crypto.getRandomValues',
]);

/** `policy` outside its engine: no clock, and no randomness that is not passed in as a seed. */
export const purityRule = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      impure: '{{name}} makes policy impure: pass the instant or the seed in as an argument.',
    },
  },
  create(context) {
    const file = repositoryPath(context);
    if (!isWithin(file, 'policy') || isWithin(file, 'policy/engine') || isTest(file)) return {};
    const report = (node: TSESTree.Node, name: string): void => {
      context.report({ node, messageId: 'impure', data: { name } });
    };
    return {
      MemberExpression: (node) => {
        if (
          node.object.type !== AST_NODE_TYPES.Identifier ||
          node.property.type !== AST_NODE_TYPES.Identifier
        )
          return;
        const name = `${node.object.name}.${node.property.name}`;
        if (IMPURE.has(name)) report(node, name);
      },
      NewExpression: (node) => {
        if (node.callee.type !== AST_NODE_TYPES.Identifier || node.callee.name !== 'Date') return;
        if (node.arguments.length === 0) report(node, 'new Date()');
      },
    };
  },
});

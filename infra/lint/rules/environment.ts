import path from 'node:path';
import { ESLintUtils } from '@typescript-eslint/utils';
import { repositoryPath } from '../repository-path.ts';
import { isTest, isWithin } from '../target.ts';

/** The environment is read in a process's `config.ts`; tests and the bench may read it too. */
export const environmentRule = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      environment: 'The environment is read in config.ts only; take the value as an argument.',
    },
  },
  create(context) {
    const file = repositoryPath(context);
    if (path.posix.basename(file) === 'config.ts' || isTest(file) || isWithin(file, 'bench')) {
      return {};
    }
    return {
      "MemberExpression[object.name='process'][property.name='env']": (node) => {
        context.report({ node, messageId: 'environment' });
      },
      "MemberExpression[object.name='process'][property.value='env']": (node) => {
        context.report({ node, messageId: 'environment' });
      },
      "VariableDeclarator[init.name='process'] Property[key.name='env']": (node) => {
        context.report({ node, messageId: 'environment' });
      },
      "ImportDeclaration[source.value=/^(node:)?process$/] ImportSpecifier[imported.name='env']": (
        node,
      ) => {
        context.report({ node, messageId: 'environment' });
      },
    };
  },
});

import { AST_NODE_TYPES, ESLintUtils } from '@typescript-eslint/utils';
import { repositoryPath } from '../repository-path.ts';
import { SYSTEM_ACCESS } from '../system-access-sites.ts';
import { isTest } from '../target.ts';
import { calleeName } from '../callee.ts';

/** `withSystem(db, reason, …)` sees every tenant: a literal reason, and only from listed files. */
export const systemAccessRule = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      unlisted:
        'withSystem sees every tenant: list this file in infra/lint/system-access-sites.ts.',
      reason: 'withSystem needs a literal, non-empty reason as its second argument: it is logged.',
    },
  },
  create(context) {
    const file = repositoryPath(context);
    if (isTest(file)) return {};
    return {
      CallExpression: (node) => {
        if (calleeName(node) !== 'withSystem') return;
        const reason = node.arguments[1];
        if (
          reason?.type !== AST_NODE_TYPES.Literal ||
          typeof reason.value !== 'string' ||
          !reason.value.trim()
        ) {
          context.report({ node, messageId: 'reason' });
        }
        if (!SYSTEM_ACCESS.has(file)) context.report({ node, messageId: 'unlisted' });
      },
    };
  },
});

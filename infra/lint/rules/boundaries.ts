import { AST_NODE_TYPES, ESLintUtils, type TSESTree } from '@typescript-eslint/utils';
import { boundaries } from '../boundaries.ts';
import { repositoryPath } from '../repository-path.ts';
import { importTarget } from '../target.ts';

/** Reports every import that crosses a boundary of `boundaries.ts`. */
export const boundariesRule = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    schema: [],
    messages: { crossed: "'{{specifier}}' crosses the boundary {{name}}. {{message}}" },
  },
  create(context) {
    const file = repositoryPath(context);
    const binding = boundaries.filter((boundary) => boundary.binds(file));
    const check = (source: TSESTree.Node | null): void => {
      if (source?.type !== AST_NODE_TYPES.Literal || typeof source.value !== 'string') return;
      const specifier = source.value;
      const target = importTarget(file, specifier);
      for (const { name, message, forbids } of binding) {
        if (!forbids(target, file)) continue;
        context.report({
          node: source,
          messageId: 'crossed',
          data: { specifier, name, message },
        });
      }
    };
    return {
      ImportDeclaration: (node) => {
        check(node.source);
      },
      ExportAllDeclaration: (node) => {
        check(node.source);
      },
      ExportNamedDeclaration: (node) => {
        check(node.source);
      },
      ImportExpression: (node) => {
        check(node.source);
      },
      TSImportType: (node) => {
        check(node.source);
      },
      CallExpression: (node) => {
        const [first] = node.arguments;
        if (
          node.callee.type === AST_NODE_TYPES.Identifier &&
          node.callee.name === 'require' &&
          first
        ) {
          check(first);
        }
      },
    };
  },
});

import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { house } from './plugin.ts';

const TESTS = ['**/*.test.ts', '**/*.test-d.ts', 'test/**/*.ts'];

/** The repository's flat configuration; `root` is the folder of `eslint.config.js`. */
export function lintConfig(root: string) {
  return defineConfig(
    { ignores: ['**/node_modules', '**/dist', '.armature', 'policy/checkpoints', '**/coverage'] },
    { linterOptions: { noInlineConfig: true, reportUnusedDisableDirectives: 'error' } },
    {
      files: ['**/*.ts', '**/*.mts'],
      extends: [tseslint.configs.strictTypeChecked],
      languageOptions: {
        parserOptions: { project: './tsconfig.json', tsconfigRootDir: root },
      },
      plugins: { house },
      rules: {
        'house/boundaries': 'error',
        'house/checked-non-null': 'error',
        'house/environment': 'error',
        'house/one-transaction': 'error',
        'house/purity': 'error',
        'house/system-access': 'error',

        eqeqeq: 'error',
        'no-console': 'error',
        'no-empty': ['error', { allowEmptyCatch: false }],
        'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx', 'hack'] }],
        'prefer-const': 'error',
        'object-shorthand': 'error',
        'no-restricted-syntax': [
          'error',
          {
            selector: "AssignmentExpression[operator!='='] > AwaitExpression.right",
            message:
              'The left side is read before the wait, so that what others add meanwhile is lost: wait first.',
          },
        ],
        '@typescript-eslint/consistent-type-imports': [
          'error',
          { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
        ],
        '@typescript-eslint/no-confusing-void-expression': 'off',
        // `house/checked-non-null` stands in its place.
        '@typescript-eslint/no-non-null-assertion': 'off',
        // An async function without await turns a throw into a rejection, as an interface asks.
        '@typescript-eslint/require-await': 'off',
        '@typescript-eslint/restrict-template-expressions': [
          'error',
          { allowNumber: true, allowBoolean: true, allowAny: false, allowNullish: false },
        ],
        '@typescript-eslint/switch-exhaustiveness-check': [
          'error',
          { considerDefaultExhaustiveForUnions: true },
        ],
        // while (true) with a way out is how a worker's loop reads.
        '@typescript-eslint/no-unnecessary-condition': [
          'error',
          { allowConstantLoopConditions: true },
        ],
        '@typescript-eslint/no-unused-vars': [
          'error',
          { ignoreRestSiblings: true, argsIgnorePattern: '^_', caughtErrors: 'all' },
        ],
      },
    },
    {
      files: TESTS,
      rules: {
        // A missing value fails the test that asserts it is there.
        'house/checked-non-null': 'off',
        '@typescript-eslint/no-unsafe-assignment': 'off',
        '@typescript-eslint/unbound-method': 'off',
      },
    },
    { files: ['**/*.js', '**/*.mjs'], rules: { eqeqeq: 'error', 'prefer-const': 'error' } },
  );
}

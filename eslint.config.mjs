import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: [
      '**/dist/**',
      '**/node_modules/**',
      'felix-proto/generated/**',
      'p4runtime-js-bindings/src/**',
      '*.js',
      '*.mjs',
    ],
  },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
    },
  },
  {
    // winston's types declare its transports as interfaces.
    files: ['src/log.ts'],
    rules: { '@typescript-eslint/no-unsafe-class-instance-assignment': 'off' },
  },
  {
    files: ['src/translators/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: '/(driver|p4target|p4switch|cli)/',
              message: 'translators are pure: they know only model and rows',
            },
            { regex: '^(node:)?(fs|net|child_process)$', message: 'translators do no I/O' },
          ],
        },
      ],
    },
  },
  {
    files: ['src/p4target/**', 'src/p4switch/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            { regex: '/(driver|cli|model|translators/policy)/', message: 'a target knows nothing of Calico' },
          ],
        },
      ],
    },
  },
);

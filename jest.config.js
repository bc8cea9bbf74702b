/** @type {import('jest').Config} */
process.env.CALICO_P4_LOG_LEVEL ??= 'warn';

module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript' } } }] },
  setupFiles: ['<rootDir>/test/seed.ts'],
  maxWorkers: 2,
  testTimeout: 60000,
};

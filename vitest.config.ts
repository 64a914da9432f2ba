import { defineConfig } from 'vitest/config'

/** Two files at a time: a PGlite takes some 400 MB, and its first start several seconds of a core. */
const workers = process.env['TEST_WORKERS'] ?? '2'

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: /^[1-9]\d?$/.test(workers) ? Number(workers) : 2,
    fileParallelism: true,
    teardownTimeout: 20_000,
    projects: [
      {
        test: {
          name: 'node',
          include: ['test/**/*.test.ts'],
          environment: 'node',
          testTimeout: 30_000,
          // A cold PGlite or a fresh PostgreSQL cluster on a busy machine takes up to a minute.
          hookTimeout: 120_000,
        },
      },
    ],
  },
})

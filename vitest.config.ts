import { defineConfig } from 'vitest/config';
import summaryReporter from './scripts/summary-reporter.ts';

/** Unit tests stand beside their file; integration and fuzz live under test/ and are picked by `make`. */
export default defineConfig({
  test: {
    include: [
      '{api,policy,approval,record,delivery,certificate,kube,operator,proxy,archive,cli,scripts,demo,bench}/**/*.test.ts',
      'test/**/*.test.ts',
    ],
    pool: 'forks',
    // Generous: a limit is there to end what hangs, and machines may be slow or busy.
    testTimeout: 120_000,
    hookTimeout: 240_000,
    reporters: ['default', summaryReporter()],
  },
});

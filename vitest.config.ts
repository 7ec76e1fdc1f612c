import { defineConfig } from 'vitest/config';
import LongestFirst from './scripts/longest-first.ts';
import summaryReporter from './scripts/summary-reporter.ts';

const PARTS = 'api,policy,approval,record,delivery,certificate,kube,operator,proxy,archive,cli,scripts,demo,bench';

/**
 * Unit tests stand beside their file; everything else lives under test/ and is picked by `make`. One group after the other: what the
 * cluster tests need takes minutes to build on a fresh machine, and is built while the others run.
 */
const group = (
  groupOrder: number,
  name: string,
  include: string[],
  more: { exclude?: string[]; hookTimeout?: number; retry?: number } = {},
) => ({
  extends: true as const,
  test: {
    name,
    include,
    ...more,
    // Two keep two cores busy; more would be too many for the memory of a small machine.
    maxWorkers: 2,
    sequence: { groupOrder },
  },
});

/** Of thousands of tests with real servers and processes one loses a race now and then. It runs again, and the summary names it. */
const RETRY = 1;

const CLUSTER = ['test/cluster/**/*.test.ts', 'test/e2e/**/*.test.ts'];

export default defineConfig({
  test: {
    pool: 'forks',
    // Generous: a limit is there to end what hangs, and machines may be slow or busy.
    testTimeout: 120_000,
    hookTimeout: 240_000,
    setupFiles: ['test/support/patience.ts'],
    expect: { poll: { timeout: 60_000 } },
    sequence: { sequencer: LongestFirst },
    reporters: ['default', summaryReporter()],
    projects: [
      group(0, 'unit', [`{${PARTS}}/**/*.test.ts`]),
      group(1, 'integration', ['test/**/*.test.ts'], { exclude: CLUSTER, retry: RETRY }),
      // A hook may have to wait for Kubernetes to be built.
      group(2, 'cluster', CLUSTER, { hookTimeout: 1_800_000, retry: RETRY }),
    ],
  },
});

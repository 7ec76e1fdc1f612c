import type { Reporter, SerializedError, TestModule, TestRunEndReason } from 'vitest/node';

/**
 * Prints `N passed, N failed, N skipped` as the very last line of a run, for scripts that read it, and before it each test that passed
 * only when it was tried again: such a test, or what it tests, has a race to be mended. A file that does not load and
 * an error outside of any test count as failed: a run in which they happened must not look green.
 */
export default function summaryReporter(): Reporter {
  return {
    onTestRunEnd(
      modules: readonly TestModule[],
      unhandled: readonly SerializedError[],
      _reason: TestRunEndReason,
    ): void {
      let [passed, failed, skipped] = [0, unhandled.length, 0];
      const again: string[] = [];
      for (const module of modules) {
        if (module.errors().length > 0) failed += 1;
        // A hook that fails leaves its tests skipped: that is a failure, not a choice.
        for (const suite of module.children.allSuites()) if (suite.errors().length > 0) failed += 1;
        for (const test of module.children.allTests()) {
          if (test.diagnostic()?.flaky === true) again.push(`${module.relativeModuleId} > ${test.fullName}`);
          switch (test.result().state) {
            case 'passed':
              passed += 1;
              break;
            case 'failed':
              failed += 1;
              break;
            case 'skipped':
              skipped += 1;
              break;
            case 'pending':
              // A run that ends before a test did has not shown that it passes.
              failed += 1;
              break;
          }
        }
      }
      // A run that found nothing, or was interrupted, has shown nothing either; vitest sets the status for that.
      const line = `${passed} passed, ${failed} failed, ${skipped} skipped\n`;
      if (failed > 0) process.exitCode = 1;
      const named = again.map((name) => `passed when tried again: ${name}\n`).join('');
      process.once('exit', () => process.stdout.write(`${named}${line}`));
    },
  };
}

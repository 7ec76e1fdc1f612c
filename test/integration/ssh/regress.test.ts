/** Scripts of OpenSSH's own regression suite, with Sallyport between their clients and the sshd that they start. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWith } from '../../support/requires.ts';
import { sshServer } from '../../support/sshd.ts';
import { regressionSuite, type Suite, startSuite } from './regress/suite.ts';

const QUICK = [
  'connect',
  'connect-uri',
  'banner',
  'exit-status-signal',
  'transfer',
  'stderr-after-eof',
  'yes-head',
  'localcommand',
  'host-expand',
  'portnum',
  'forcecommand',
  'dynamic-forward',
  'forwarding',
  'sftp-uri',
  'scp3',
];
/** They sleep for the most part of a minute. */
const SLOW = ['exit-status', 'stderr-data', 'multiplex'];
const ALL = process.env.SSH_REGRESSION === 'all';

/** What a script says when it is not content, and why that is as it should be (docs/compatibility.md). */
const DIFFERENT: Readonly<Record<string, readonly string[]>> = {
  // Variables other than LANG, LC_* and TERM go nowhere.
  multiplex: ['environment not found', 'environment not found', 'failed connection multiplexing'],
};

describeWith([...sshServer, regressionSuite], "OpenSSH's regression suite", () => {
  let suite: Suite;
  beforeAll(async () => {
    suite = await startSuite();
  });
  afterAll(() => suite?.[Symbol.asyncDispose]());

  test.each(ALL ? [...QUICK, ...SLOW] : QUICK)('%s', async (script) => {
    const before = suite.passed;
    const { passed, output } = await suite.through(script);
    const expected = DIFFERENT[script];
    if (expected === undefined) expect(passed, output).toBe(true);
    else expect(output.split('\n').filter((line) => line !== '' && !line.startsWith('test '))).toEqual(expected);
    // A script whose clients took another way would show nothing.
    expect(suite.passed).toBeGreaterThan(before);
  });
});

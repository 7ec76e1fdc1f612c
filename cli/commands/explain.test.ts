import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HOST_KEY } from '../../policy/testing/ssh.ts';
import type { CliIo } from '../io.ts';
import { register as registerExplain } from './explain.ts';
import { junitXml } from './junit.ts';
import { register as registerTest } from './test.ts';

const POLICIES = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: orders}
spec:
  protocol: Postgres
  target: {host: orders-db, port: 5432, database: orders}
  credential: {secretRef: {name: orders-db}}
---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agent}
spec:
  connections: {names: [orders]}
  subjects: [{serviceAccount: {name: agent}}, {group: "okta:dba"}]
  rules:
    - {name: read, effect: Allow, sql: {statements: [Read], relations: ["public.*"]}, limits: {maxRowsReturned: 10, maxDuration: 1m}}
    - {name: delete, effect: Allow, sql: {statements: [Delete], relations: ["public.orders"]}}
    - {name: late, effect: RequireApproval, message: Ask., when: now.getHours("Europe/Berlin") >= 18, sql: {statements: [Delete]}, approval: {approvers: {groups: [oncall]}}}
    - {name: wide, effect: Deny, message: Add a WHERE clause., when: "!command.sql.hasWhere", sql: {statements: [Delete]}}
`;
const EXAMPLES = join(import.meta.dirname, '../../examples');
const AGENT = 'system:serviceaccount:default:agent';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'explain-'));
  await writeFile(join(folder, 'policies.yaml'), POLICIES);
});
afterEach(() => rm(folder, { recursive: true }));

async function run(
  ...args: string[]
): Promise<{ out: string; err: string; code: number | undefined; error?: unknown }> {
  const result = { out: '', err: '', code: undefined as number | undefined };
  const io: CliIo = {
    stdout: { write: (text) => (result.out += text) },
    stderr: { write: (text) => (result.err += text) },
    env: {},
    cwd: folder,
    pid: 1,
    arguments: args,
    isTTY: false,
    signal: new AbortController().signal,
    onHangup: () => undefined,
    setExitCode: (code) => {
      result.code = code;
    },
  };
  const program = new Command().exitOverride().configureOutput({ writeErr: (text) => (result.err += text) });
  for (const register of [registerExplain, registerTest]) register(program, io);
  for (const command of program.commands)
    command.exitOverride().configureOutput({ writeErr: (text) => (result.err += text) });
  try {
    await program.parseAsync(['node', 'sallyport', ...args]);
    return result;
  } catch (error) {
    return { ...result, error };
  }
}

const explain = (command: string, ...more: string[]) =>
  run(
    'explain',
    '-f',
    '.',
    '--as',
    AGENT,
    '--connection',
    'orders',
    '--at',
    '2026-03-04T12:00:00Z',
    '--command',
    command,
    ...more,
  );

describe('explain', () => {
  it('prints the decision tuple by tuple and ends with 0 when it is allowed', async () => {
    const { out, code } = await explain('SELECT id FROM orders');
    expect(out).toBe(
      [
        `Allow  ${AGENT} on default/orders`,
        '  Select on public.orders  Allow            rule default/agent/read',
        '  limits: 10 rows returned, 60 s for one command',
        '',
      ].join('\n'),
    );
    expect(code).toBe(0);
  });

  it('ends with 1 when it is denied or held, and says by which rule', async () => {
    const wide = await explain('DELETE FROM orders');
    expect(wide.out).toContain('Deny             rule default/agent/wide: Add a WHERE clause.');
    expect(wide.out).toContain(
      'Allowed here: Delete on public.orders (rule default/agent/delete); Read on public.* (rule default/agent/read).',
    );
    expect(wide.code).toBe(1);
    const late = await explain('DELETE FROM orders WHERE id = 1', '--at', '2026-03-04T19:00:00+01:00');
    expect(late.out).toContain('needs 1 approval(s) of group oncall (rule default/agent/late)');
    expect(late.code).toBe(1);
  });

  it('tells what does not parse, and shows nothing that acts on the terminal', async () => {
    const { out, code } = await explain('SELEC \u001b[2J');
    expect(out).toContain('does not parse');
    expect(out).not.toContain('\u001b');
    expect(code).toBe(1);
  });

  it('gives the same as JSON', async () => {
    const { out } = await explain('DELETE FROM orders', '-o', 'json');
    expect(JSON.parse(out)).toMatchObject({
      subject: AGENT,
      connection: 'default/orders',
      mayConnect: true,
      verdict: 'Deny',
      tuples: [{ what: 'Delete on public.orders', verdict: 'Deny' }],
    });
  });

  it('takes groups, and says when no session is let in', async () => {
    const as = [
      'explain',
      '-f',
      '.',
      '--connection',
      'default/orders',
      '--command',
      'SELECT id FROM orders',
      '--as',
      'okta:ana',
    ];
    expect((await run(...as, '--group', 'okta:dba')).code).toBe(0);
    const stranger = await run(...as);
    expect(stranger.out).toContain('no session is let in');
    expect(stranger.code).toBe(1);
  });

  it('reports errors with their code', async () => {
    expect((await explain('SELECT 1', '--connection', 'none')).error).toMatchObject({ code: 'SPC003' });
    expect((await explain('SELECT 1', '--as', 'nobody')).error).toMatchObject({ code: 'SPI019' });
    expect((await explain('SELECT 1', '--at', 'noon')).error).toBeInstanceOf(CommanderError);
    await writeFile(
      join(folder, 'broken.yaml'),
      'apiVersion: sallyport.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: x}\nspec: {}\n',
    );
    const broken = await explain('SELECT 1');
    expect(broken.error).toMatchObject({ code: 'SPC030' });
    expect(broken.err).toMatch(/broken\.yaml:4:/);
  });
});

const SUITE = `
apiVersion: sallyport.dev/v1alpha1
kind: SallyportTest
metadata: {name: orders}
spec:
  files: [policies.yaml]
  defaults: {as: "${AGENT}", connection: orders}
  cases:
    - {name: reads, command: SELECT id FROM orders, expect: Allow}
    - {name: no wide delete, command: DELETE FROM orders, expect: {verdict: Deny, rule: wide, message: WHERE, denied: Delete on public.orders}}
    - {name: held, command: DELETE FROM orders WHERE id = 1, at: "2026-03-04T22:00:00Z", expect: {verdict: RequireApproval, rule: agent/late}}
    - {name: by claim, as: "okta:ana", groups: ["okta:dba"], claims: {team: [a, b]}, command: SELECT 1, expect: Allow}
`;

describe('test', () => {
  const test = async (suite: string, ...more: string[]) => {
    await writeFile(join(folder, 'orders.test.yaml'), suite);
    return run('test', '.', ...more);
  };

  it('passes when every case comes out as expected', async () => {
    const { out, code, err } = await test(SUITE);
    expect(err).toBe('');
    expect(out).toBe(
      'orders (orders.test.yaml)\n  pass  reads\n  pass  no wide delete\n  pass  held\n  pass  by claim\n4 passed, 0 failed\n',
    );
    expect(code).toBe(0);
  });

  it.each([
    ['expect: Allow}', 'expect: Deny}', 'expected Deny, got Allow by default/agent/read'],
    ['rule: wide', 'rule: other', 'expected rule other, got default/agent/wide'],
    ['message: WHERE', 'message: HAVING', 'expected a message with "HAVING", got "Add a WHERE clause."'],
    ['denied: Delete on public.orders', 'denied: Delete', 'expected denied Delete, got Delete on public.orders'],
    ['verdict: RequireApproval', 'verdict: RequireApproval, observed: Deny', 'expected observed Deny, got nothing'],
    ['connection: orders', 'connection: none', 'no AccessConnection none'],
  ])('fails when not: %s as %s', async (from, to, message) => {
    const { out, code } = await test(SUITE.replace(from, to));
    expect(out).toContain(message);
    expect(out).toMatch(/orders\.test\.yaml:\d+: /);
    expect(code).toBe(1);
  });

  it('writes JUnit and JSON', async () => {
    const { out, code } = await test(
      SUITE.replace('expect: Allow}', 'expect: Deny}'),
      '-o',
      'json',
      '--junit',
      'report.xml',
    );
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatchObject({ suite: 'orders', name: 'reads', line: 9, passed: false });
    const xml = await readFile(join(folder, 'report.xml'), 'utf8');
    expect(xml).toContain('<testsuites tests="4" failures="1"');
    expect(xml).toContain('<failure message="expected Deny, got Allow by default/agent/read"/>');
    expect(code).toBe(1);
  });

  it('refuses what is no test, with file and line', async () => {
    const refused = async (suite: string) => (await test(suite)).error;
    expect(await refused(SUITE.replace('expect: Allow', 'expects: Allow'))).toMatchObject({
      code: 'SPC031',
      message: expect.stringMatching(/orders\.test\.yaml:9/),
    });
    expect(await refused(SUITE.replace('kind: SallyportTest', 'kind: Test'))).toMatchObject({ code: 'SPC031' });
    expect(await refused('a: [')).toMatchObject({ code: 'SPC031' });
    expect(await refused(SUITE.replace(`as: "${AGENT}", `, ''))).toMatchObject({
      message: expect.stringContaining('as is missing'),
    });
    expect(await refused('')).toMatchObject({ code: 'SPC032' });
    expect((await run('test', 'nowhere')).error).toMatchObject({ code: 'SPC031' });
    expect((await run('test', '.', '--junit', 'no/such/folder.xml')).error).toMatchObject({ code: 'SPC032' });
  });

  it('escapes what XML cannot hold', () => {
    const xml = junitXml([{ suite: 'a"<', name: '\u0000&', file: 'f', line: 1, durationMs: 1, failure: 'x\ny' }]);
    expect(xml).toContain('classname="a&quot;&lt;" name="\ufffd&amp;"');
    expect(xml).toContain('message="x&#10;y"');
  });
});

describe('SSH', () => {
  const web = (command: string, ...more: string[]) =>
    run(
      'explain',
      '-f',
      join(EXAMPLES, 'ssh-hosts.yaml'),
      '--as',
      'system:serviceaccount:default:ops-agent',
      '--connection',
      'web-1',
      '--command',
      command,
      ...more,
    );

  it('is explained part by part, with the only principal as login user', async () => {
    const { out, code } = await web('systemctl status shop | tee /tmp/x');
    expect(out).toContain('Exec of systemctl status shop  Allow            rule default/web-operations/service');
    expect(out).toContain('Exec of tee /tmp/x             Deny             no Allow rule covers it');
    expect(out).toContain('Exec of systemctl status shop, sudo systemctl restart shop, journalctl -u shop **, ');
    expect(code).toBe(1);
    expect((await web('systemctl status shop')).code).toBe(0);
  });

  it('asks for files, forwards, shells and subsystems as well', async () => {
    expect((await web('/var/log/shop/app.log', '--operation', 'ReadFile')).code).toBe(0);
    expect((await web('/var/log/shop/.x', '--operation', 'ReadFile')).out).toContain('Hidden names are covered only');
    expect((await web('', '--operation', 'Shell')).out).toContain('needs 1 approval(s)');
    expect((await web('sftp', '--operation', 'Subsystem')).out).toContain('needs no rule of its own');
    expect((await web('[::1]:80', '--operation', 'LocalForward')).out).toContain('LocalForward to [::1]:80');
    expect((await web('unix:/run/x', '--operation', 'RemoteForward')).out).toContain('RemoteForward on unix:/run/x');
  });

  it('wants a text only where something is asked for by one', async () => {
    const words = [
      'explain',
      '-f',
      join(EXAMPLES, 'ssh-hosts.yaml'),
      '--as',
      'system:serviceaccount:default:ops-agent',
    ];
    const bare = (operation: string) => run(...words, '--connection', 'web-1', '--operation', operation);
    expect((await bare('Shell')).out).toContain('needs 1 approval(s)');
    expect((await bare('ReadFile')).error).toMatchObject({ code: 'commander.error' });
  });

  it('says what is missing', async () => {
    expect((await web('app.log', '--operation', 'ReadFile')).error).toMatchObject({ code: 'SPC036' });
    expect((await web('nowhere', '--operation', 'LocalForward')).error).toMatchObject({ code: 'SPC036' });
    const policies = POLICIES.replace('Postgres', 'SSH').replace(
      'target: {host: orders-db, port: 5432, database: orders}',
      `target: {host: orders-db, port: 22, hostKeys: ["${HOST_KEY}"]}`,
    );
    await writeFile(join(folder, 'policies.yaml'), policies);
    expect((await explain('id')).error).toMatchObject({ code: 'SPC035' });
    expect((await explain('id', '--login-user', 'ops')).code).toBe(1);
  });

  it('has cases of its own', async () => {
    const { out, code } = await run('test', join(EXAMPLES, 'ssh'));
    expect(out).toContain('12 passed, 0 failed');
    expect(code).toBe(0);
  });
});

describe('Kubernetes and HTTP', () => {
  const cluster = (command: string, ...more: string[]) =>
    run(
      'explain',
      '-f',
      join(EXAMPLES, 'scale-out-approval.yaml'),
      '--as',
      'system:serviceaccount:default:scaler',
      '--connection',
      'cluster',
      '--command',
      command,
      ...more,
    );
  const payments = (command: string, ...more: string[]) =>
    run(
      'explain',
      '-f',
      join(EXAMPLES, 'http-api.yaml'),
      '--as',
      'system:serviceaccount:default:support-agent',
      '--connection',
      'payments',
      '--command',
      command,
      ...more,
    );

  it('are explained as the gateway reads the request', async () => {
    const scale = await cluster(
      'PATCH /apis/apps/v1/namespaces/shop/deployments/web',
      '--body',
      '{"spec":{"replicas":5}}',
    );
    expect(scale.out).toContain('Scale (patch) of deployments.apps shop/web  RequireApproval');
    expect(scale.out).toContain('what is there already is not known here: the worst is assumed');
    expect(scale.code).toBe(1);
    const whole = await cluster('GET https://cluster.example.com/apis/apps/v1/namespaces/shop/deployments?limit=500');
    expect(whole.out).toContain('list deployments.apps in shop  Allow');
    expect(whole.code).toBe(0);
    const json = JSON.parse((await cluster('GET /api/v1/namespaces/shop/secrets/s', '-o', 'json')).out);
    expect(json).toMatchObject({ verdict: 'Deny', denied: 'ReadSecret (get) of secrets shop/s' });
  });

  it('with headers and body where rules look at them', async () => {
    const refund = (body: string, ...more: string[]) => payments('POST /v1/refunds', '--body', body, ...more);
    expect((await refund('{"amount":5,"currency":"eur"}')).code).toBe(0);
    expect((await refund('{"amount":50,"currency":"eur"}')).out).toContain('needs 1 approval(s)');
    expect((await refund('amount=5', '--header', 'Content-Type: application/x-www-form-urlencoded')).code).toBe(1);
    expect((await payments('GET /v1/charges/x?limit=100')).out).toContain('no-exports');
    expect((await payments('GET /v1/charges', '--header', 'nonsense')).error).toMatchObject({
      code: 'commander.invalidArgument',
    });
  });

  it.each([
    ['kubectl get pods', 'is no METHOD PATH'],
    ['GET /v1/../admin', 'dot segment'],
    ['GET /v1//x', 'empty segment'],
    ['GET /v1/%2e%2e/admin', 'dot segment'],
    ['GET /v1/a%2Fb', 'encoded slash'],
  ])('say why they cannot be decided: %s', async (command, reason) => {
    const { error } = await payments(command);
    expect(error).toMatchObject({
      code: 'SPC036',
      message: expect.stringContaining(reason),
      hint: expect.stringContaining('GET /v1/charges'),
    });
  });

  it('a body that readers could read differently is not judged', async () => {
    const twice = await payments('POST /v1/refunds', '--body', '{"amount":5,"amount":5000,"currency":"eur"}');
    expect(twice.error).toMatchObject({ code: 'SPC036' });
    expect((await cluster('GET /api/v1/pods?watch=maybe')).error).toMatchObject({ code: 'SPC036' });
  });

  it.each(['kubernetes', 'http'])('have cases of their own: examples/%s', async (name) => {
    const { out, code } = await run('test', join(EXAMPLES, name));
    expect(out).toMatch(/\n[1-9][0-9]+ passed, 0 failed\n$/);
    expect(code).toBe(0);
  });
});

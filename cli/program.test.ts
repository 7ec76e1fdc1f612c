import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { validate } from './commands/validate.ts';
import type { CliIo } from './io.ts';
import { createProgram, runProgram } from './program.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-cli-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function io(words: readonly string[]): CliIo & { out(): string; err(): string; status(): number } {
  let out = '';
  let err = '';
  let status = 0;
  return {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    env: { HOME: folder },
    cwd: folder,
    pid: 1,
    arguments: words,
    isTTY: false,
    signal: new AbortController().signal,
    onHangup: () => {},
    setExitCode: (code) => {
      status = code;
    },
    out: () => out,
    err: () => err,
    status: () => status,
  };
}

async function run(...words: string[]): Promise<{ out: string; err: string; status: number }> {
  const made = io(words);
  await runProgram(made);
  return { out: made.out(), err: made.err(), status: made.status() };
}

const CONNECTION = `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: orders}
spec:
  protocol: Postgres
  target: {host: orders-db, port: 5432, database: orders}
  credential: {secretRef: {name: db}}
`;
const rule = (kind: string, name: string, spec: string): string =>
  `---\napiVersion: sallyport.dev/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const policy = (name: string, rules: string, connections = '{names: [orders]}'): string =>
  rule('AccessPolicy', name, `{connections: ${connections}, subjects: [{everyone: true}], rules: [${rules}]}`);

const put = (text: string): Promise<void> => writeFile(join(folder, 'a.yaml'), text);
/** `line:column code` of each finding. */
async function found(text: string, ...words: string[]): Promise<string[]> {
  await put(text);
  const { out } = await run('validate', '-f', '.', '-o', 'json', ...words);
  const { findings } = JSON.parse(out) as { findings: { file: string; line: number; column: number; code: string }[] };
  return findings.map(({ file, line, column, code }) => `${file}:${line}:${column} ${code}`);
}

describe('the program', () => {
  test('help and version are no failure; wrong usage is 2', async () => {
    expect((await run('--help')).status).toBe(0);
    expect((await run('validate', '--help')).out).toContain('Examples:');
    expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/);
    for (const words of [
      [],
      ['nonsense'],
      ['validate'],
      ['validate', '-f', 'x', '--nonsense'],
      ['version', '-o', 'xml'],
    ]) {
      expect((await run(...words)).status, words.join(' ')).toBe(2);
    }
  });

  test('every command has help with examples and takes -o json', () => {
    const leaves = (command: ReturnType<typeof createProgram>): ReturnType<typeof createProgram>[] =>
      command.commands.length === 0 ? [command] : command.commands.flatMap((child) => leaves(child as typeof command));
    for (const command of leaves(createProgram(io([])))) {
      let help = '';
      command.configureOutput({ writeOut: (text) => (help += text) });
      command.outputHelp();
      expect(help, command.name()).toMatch(/Examples:|Cases stand in files/);
      // The operator runs in a pod only, and always writes lines of JSON.
      if (!['completion', 'operator'].includes(command.name())) expect(help, command.name()).toContain('--output');
    }
  });

  test('errors are JSON where the answer would be', async () => {
    const words = ['validate', '-f', folder, '--database', '--state', join(folder, 'none')];
    await put('kind: [');
    expect((await run(...words)).out).toContain('SPA002');
    const { err, status } = await run(
      'explain',
      '-f',
      folder,
      '--as',
      'a:b',
      '--connection',
      'x',
      '--command',
      'x',
      '-o',
      'json',
    );
    expect(status).toBe(1);
    expect((JSON.parse(err.trim().split('\n').at(-1) ?? '') as { error: { code: string } }).error.code).toBe('SPC030');
  });
});

describe('validate', () => {
  test('nothing wrong', async () => {
    await put(CONNECTION + policy('p', '{name: r, effect: Allow, sql: {statements: [Read], relations: ["public.*"]}}'));
    const { out, status } = await run('validate', '-f', '.');
    expect(out).toBe('1 file(s): 1 AccessConnection, 1 AccessPolicy; 0 error(s), 0 warning(s)\n');
    expect(status).toBe(0);
  });

  test('file, line, column, what is wrong and what to write', async () => {
    await put(CONNECTION.replace('protocol', 'protocl').replace('credential:', 'credentials:'));
    const { out, status } = await run('validate', '-f', '.');
    expect(out).toContain(
      'a.yaml:5:3: error: AccessConnection default/orders: spec has no field "protocl" [SPA003]\n    Write protocol.\n',
    );
    expect(out).toContain(
      'a.yaml:7:3: error: AccessConnection default/orders: spec has no field "credentials" [SPA003]\n    Write credential.\n',
    );
    expect(status).toBe(1);
  });

  test.each([
    [
      'a policy that selects no connection',
      policy('p', '{name: r, effect: Deny}', '{selector: {matchLabels: {a: b}}}'),
      'SPP002',
    ],
    ['a connection that is not there', policy('p', '{name: r, effect: Deny}', '{names: [other]}'), 'SPP001'],
    ['a rule that can never match', policy('p', '{name: r, effect: Deny, ssh: {operations: [Shell]}}'), 'SPP004'],
    ['a condition that does not compile', policy('p', '{name: r, effect: Deny, when: "command.sql."}'), 'SPP009'],
    [
      'an approval of what nothing allows',
      policy('p', '{name: r, effect: RequireApproval, sql: {statements: [Delete]}}'),
      'SPP005',
    ],
    [
      'a pattern that is none',
      rule('MaskingRule', 'm', '{connections: {all: true}, content: [{pattern: "(a|b"}]}'),
      'SPA012',
    ],
    ['two connections with one target', `---\n${CONNECTION.replace('name: orders}', 'name: two}')}`, 'SPP008'],
  ])('%s', async (_, text, code) => {
    const codes = (await found(CONNECTION + text)).map((line) => line.split(' ')[1]);
    expect(codes).toContain(code);
  });

  test('an Allow in the guardrail namespace, which the configuration names', async () => {
    const text =
      CONNECTION +
      policy('p', '{name: r, effect: Allow, sql: {statements: [Read], relations: ["a.*"]}}', '{all: true}');
    expect(await found(text)).toEqual([]);
    await writeFile(
      join(folder, 'c.conf'),
      'apiVersion: sallyport.dev/v1alpha1\nkind: SallyportConfiguration\nguardrailNamespace: default\n',
    );
    expect((await found(text, '-c', 'c.conf')).map((line) => line.split(' ')[1])).toEqual(['SPP006']);
  });

  test('warnings fail only with --strict', async () => {
    await put(CONNECTION + policy('p', '{name: r, effect: Deny}', '{names: [other]}'));
    expect((await run('validate', '-f', '.')).status).toBe(0);
    expect((await run('validate', '-f', '.', '--strict')).status).toBe(1);
  });

  test('a folder with nothing in it, and one that is not there', async () => {
    expect((await run('validate', '-f', '.')).out).toContain('SPA005');
    expect((await run('validate', '-f', 'nowhere')).out).toContain('SPA001');
  });

  test('the configuration: its own errors with their places, and connections that are not there', async () => {
    const configuration = `apiVersion: sallyport.dev/v1alpha1
kind: SallyportConfiguration
listen:
  - {connection: default/orders, address: "127.0.0.1:6432"}
  - {connection: default/gone, address: "127.0.0.1:6433"}
`;
    await writeFile(join(folder, 'c.conf'), configuration);
    expect(await found(CONNECTION, '-c', 'c.conf')).toEqual(['c.conf:5:6 SPC003']);
    await writeFile(join(folder, 'c.conf'), configuration.replace('6433', '6432').replace('listen', 'lisen'));
    expect(await found(CONNECTION, '-c', 'c.conf')).toEqual(['c.conf:3:1 SPA010']);
  });

  test('what is held has people who could approve it', async () => {
    const approval = 'approval: {requiredApprovals: 2, approvers: {users: [eve], groups: [owners]}}';
    const allow = 'effect: Allow, sql: {statements: [Delete], relations: ["public.*"]}';
    const text = CONNECTION + policy('p', `{name: r, ${allow}, ${approval}}`);
    const key = (name: string): string => Buffer.alloc(32, name).toString('base64');
    const configured = async (...people: string[]): Promise<string> => {
      const head = 'apiVersion: sallyport.dev/v1alpha1\nkind: SallyportConfiguration\napprovers:';
      await writeFile(join(folder, 'c.conf'), `${head}${people.map((each) => `\n  - ${each}`).join('') || ' []'}\n`);
      await put(text);
      return (await run('validate', '-f', '.', '-c', 'c.conf')).out;
    };
    const eve = `{name: eve, publicKey: ${key('e')}}`;
    const owner = `{name: ada, publicKey: ${key('a')}, groups: [owners], connections: ["default/*"]}`;
    expect(await configured()).toContain(
      'a.yaml:12:78: warning: the rule r wants 2 people to approve, and nobody in the configuration could on default/orders',
    );
    expect(await configured(eve, `{name: bob, publicKey: ${key('b')}}`)).toContain(
      'only 1 person in the configuration',
    );
    expect(await configured(eve, owner.replace('default/', 'shop/'))).toContain('[SPC043]');
    expect(await configured(eve, owner)).toContain('0 error(s), 0 warning(s)');
    // Which configuration the gateway has is not known.
    expect(await found(text)).toEqual([]);
  });

  test('what follows from an error is not said as well', async () => {
    await writeFile(
      join(folder, 'c.conf'),
      'apiVersion: sallyport.dev/v1alpha1\nkind: SallyportConfiguration\nlisten: [{connection: default/orders, address: "127.0.0.1:1"}]\n',
    );
    const text = CONNECTION.replace('port: 5432', 'port: 0') + policy('p', '{name: r, effect: Deny}');
    expect((await found(text, '-c', 'c.conf')).map((line) => line.split(' ')[1])).toEqual(['SPA003']);
  });

  test('masking patterns are compared with the columns that databases have', async () => {
    const columns = '[{match: ["public.customers.email", "public.customers.emial"]}, {match: ["*.*.ssn"]}]';
    await put(CONNECTION + rule('MaskingRule', 'm', `{connections: {all: true}, columns: ${columns}}`));
    const options = { file: ['.'], database: true, strict: false, output: 'text' } as const;
    const reached = io([]);
    await validate(options, reached, () =>
      Promise.resolve([
        { schema: 'public', relation: 'customers', column: 'email' },
        { schema: 'hr', relation: 'people', column: 'ssn' },
      ]),
    );
    expect(reached.out()).toMatch(
      /a\.yaml:12:\d+: warning: MaskingRule default\/m: public\.customers\.emial matches no column/,
    );
    expect(reached.out()).toContain('0 error(s), 1 warning(s)');
    const away = io([]);
    await validate(options, away, () => Promise.reject(new Error('connection refused')));
    expect(away.out()).toContain(
      'a.yaml:6:3: warning: the database of default/orders cannot be asked for its columns: connection refused',
    );
    expect(away.out()).toContain('0 error(s), 1 warning(s)');
  });
});

import { describe, expect, it } from 'vitest';
import type { RuleSpec } from '../rule.ts';
import { context, deny, hold, mask } from '../testing/build.ts';
import { allowExec, allowSsh, sshConnection, sshScope } from '../testing/ssh.ts';
import { channelCommand, fileCommand, forwardCommand, shellCommand, subsystemCommand } from './commands.ts';
import { analyseExec, type ExecAsked } from './exec.ts';

const DEPLOY = { loginUser: 'deploy' };
const exec = (rules: readonly RuleSpec[], line: string, asked: ExecAsked = DEPLOY) =>
  sshScope(rules).decide(analyseExec(line, asked), context());
const verdict = (rules: readonly RuleSpec[], line: string, asked: ExecAsked = DEPLOY): string =>
  exec(rules, line, asked).verdict;

const OPERATIONS = [
  allowExec('service', [
    'systemctl status shop',
    'sudo systemctl restart shop',
    'journalctl -u shop **',
    'tail -n * /var/log/shop/*',
  ]),
  allowSsh('logs', { operations: ['ReadFile'], paths: ['/var/log/shop/**'] }),
];

describe('a command', () => {
  it.each([
    'systemctl status shop',
    '  systemctl   status "shop"',
    "'systemctl' st\\atus 'shop'",
    'sudo systemctl restart shop',
    'journalctl -u shop',
    'journalctl -u shop -n 100 --no-pager',
    'systemctl status shop; systemctl status shop',
    'systemctl status shop && journalctl -u shop || systemctl status shop',
    'journalctl -u shop | tail -n 5 /var/log/shop/app.log',
    'systemctl status shop 2>&1',
    'systemctl status shop >/dev/null 2>/dev/null',
    'tail -n 5 /var/log/shop/app.log </var/log/shop/other.log',
  ])('%s is allowed', (line) => {
    expect(verdict(OPERATIONS, line)).toBe('Allow');
  });

  it.each([
    'systemctl stop shop',
    'systemctl status shop extra',
    'systemctl status',
    '/bin/systemctl status shop',
    './systemctl status shop',
    'sudo systemctl restart shop2',
    'sudo -u root systemctl restart shop',
    'systemctl status shop; id',
    'systemctl status shop | sh',
    'systemctl status shop & id',
    'systemctl status shop\nid',
    'systemctl status $(id)',
    'systemctl status shop >/tmp/x',
    'systemctl status shop >>/var/log/shop/app.log',
    'systemctl status shop </etc/shadow',
    'systemctl status shop </var/log/shop/.ssh/id',
    'tail -n 5 /var/log/shop/../../../etc/shadow',
    'tail -n --pid=1 /var/log/shop/app.log',
    'PATH=/tmp systemctl status shop',
    'env systemctl status shop',
    '',
  ])('%j is denied', (line) => {
    expect(verdict(OPERATIONS, line)).toBe('Deny');
  });

  it('is decided for the login user', () => {
    expect(verdict(OPERATIONS, 'systemctl status shop', { loginUser: 'root' })).toBe('Deny');
    const any = [allowSsh('any', { operations: ['Exec'], loginUsers: ['*'], commands: ['id'] })];
    expect(verdict(any, 'id', { loginUser: 'root' })).toBe('Allow');
  });

  it('is shown what is allowed, what was denied and by which rule', () => {
    const decision = exec(OPERATIONS, 'systemctl stop "my shop"');
    expect(decision.denied).toBe("Exec of systemctl stop 'my shop'");
    expect(decision.hint).toContain('Exec of systemctl status shop, sudo systemctl restart shop');
    expect(decision.hint).toContain('(rule shop/p/service)');
    const denied = exec(
      [...OPERATIONS, deny('no', { ssh: { operations: ['Exec'], commands: ['systemctl **'] }, message: 'ask first' })],
      'systemctl status shop',
    );
    expect(denied).toMatchObject({ verdict: 'Deny', message: 'ask first', rules: [{ rule: 'no' }] });
  });

  it('is judged again for another text, since it has no shape', () => {
    expect(exec(OPERATIONS, 'systemctl status shop').reuse).toBe('text');
  });
});

describe('what is opaque', () => {
  const everything = [allowExec('all', ['**'])];
  const named = [allowSsh('all', { operations: ['Exec', 'Opaque'], commands: ['**'] })];

  it.each([
    'ls $(id)',
    'sudo id',
    '/usr/bin/env id',
    'python3.11 -c 1',
    'BASH -c id',
    'xargs id',
    'ls | sh',
    'git-upload-pack /x',
    'rsync -e sh a b:',
    'rsync --server -s . /x',
    'sftp-server',
    '/usr/lib/openssh/sftp-server',
    'scp -S x a b:',
    'printf -v x y',
    'find / -delete',
    '. /x',
    "test -v 'a[$x]'",
  ])('%s is not covered by **, but by the operation Opaque', (line) => {
    expect(verdict(everything, line)).toBe('Deny');
    expect(verdict(named, line)).toBe('Allow');
  });

  it.each([
    deny('d', { ssh: { operations: ['Exec'], commands: ['rm **'] } }),
    deny('d', { ssh: { operations: ['WriteFile'], paths: ['/etc/**'] } }),
    deny('d', { ssh: { operations: ['Shell'] } }),
    deny('d', { ssh: { loginUsers: ['root'] } }),
    deny('d', { ssh: { operations: ['Exec'] }, when: 'command.ssh.argv[0] == "rm"' }),
  ])('is hit by every Deny rule: %j', (rule) => {
    expect(verdict([...named, rule], 'ls $(id)')).toBe('Deny');
    expect(verdict([...named, rule], 'sudo id')).toBe('Deny');
    expect(verdict([...named, rule], 'ls')).toBe('Allow');
  });

  it('never passes where content is masked', () => {
    const masked = sshScope(named, {
      maskingRules: [mask('m', { content: [{ detectors: ['Email'], transform: { redact: {} } }] })],
    });
    expect(masked.decide(analyseExec('ls $(id)', DEPLOY), context()).verdict).toBe('Deny');
    expect(masked.decide(analyseExec('ls', DEPLOY), context()).verdict).toBe('Allow');
    const columns = sshScope(named, { maskingRules: [mask('m', { columns: [{ match: ['*.*.email'] }] })] });
    expect(columns.decide(analyseExec('ls $(id)', DEPLOY), context()).verdict).toBe('Allow');
  });

  it('says why, and what to do', () => {
    const decision = exec(everything, 'ls $(id)');
    expect(decision.denied).toContain('an expansion ($)');
    expect(exec(everything, 'sudo id').message).toContain('sudo runs what its words say');
    expect(exec(everything, 'rsync --server --daemon .').message).toContain('--daemon');
  });

  it('passes in Observe only while no Deny rule stands', () => {
    const observe = (rules: readonly RuleSpec[]) =>
      sshScope(rules, { connections: [sshConnection('web', { mode: 'Observe' })] }).decide(
        analyseExec('ls $(id)', DEPLOY),
        context(),
      );
    expect(observe(everything)).toMatchObject({ verdict: 'Allow', observed: 'Deny' });
    expect(observe([...everything, deny('d', { ssh: { operations: ['Exec'], commands: ['rm **'] } })]).verdict).toBe(
      'Deny',
    );
  });
});

describe('a wrapper that a rule names', () => {
  it('is a git server, for the repositories that are named', () => {
    const git = [allowExec('g', ['git-upload-pack /srv/git/*.git'])];
    expect(verdict(git, "git-upload-pack '/srv/git/shop.git'")).toBe('Allow');
    expect(verdict(git, "git-upload-pack '/srv/git/../../home/x.git'")).toBe('Deny');
    expect(verdict(git, "git-receive-pack '/srv/git/shop.git'")).toBe('Deny');
    expect(verdict(git, "git-upload-pack --strict '/srv/git/shop.git'")).toBe('Deny');
  });

  const rules = [allowExec('w', ['sudo **', "sh -c 'cd /srv; make'"])];

  it('is judged by its words', () => {
    expect(verdict(rules, 'sudo id')).toBe('Allow');
    expect(verdict(rules, '/usr/bin/sudo id')).toBe('Deny');
    expect(verdict(rules, "sh -c 'cd /srv; make'")).toBe('Allow');
    expect(verdict(rules, "sh -c 'cd /srv; rm x'")).toBe('Deny');
  });

  it('does not get what it runs past a Deny or RequireApproval rule', () => {
    const denied = [...rules, deny('d', { ssh: { operations: ['Exec'], commands: ['rm **'] } })];
    expect(verdict(denied, 'sudo rm -rf /')).toBe('Deny');
    expect(verdict(denied, 'sudo -u x /bin/rm -rf /')).toBe('Deny');
    expect(verdict(denied, 'sudo --x=rm a')).toBe('Deny');
    expect(verdict(denied, 'sudo id')).toBe('Allow');
    expect(verdict(denied, "sh -c 'cd /srv; make'")).toBe('Deny');
    const held = [...rules, hold('h', { ssh: { operations: ['Exec'], commands: ['systemctl **'] } })];
    expect(verdict(held, 'sudo systemctl stop x')).toBe('RequireApproval');
  });
});

describe('Deny is read widely', () => {
  const rules = [
    allowExec('all', ['**', '/bin/rm **']),
    allowSsh('files', { operations: ['ReadFile', 'WriteFile'], paths: ['/**', '/**/.*'] }),
  ];
  it('by the name of a program wherever it lies', () => {
    const denied = [...rules, deny('d', { ssh: { operations: ['Exec'], commands: ['rm *'] } })];
    expect(verdict(denied, '/bin/rm -x')).toBe('Deny');
    expect(verdict(denied, 'rm /a/../b')).toBe('Deny');
    expect(verdict(denied, 'rmdir x')).toBe('Allow');
  });
  it('for hidden files and whole trees', () => {
    const denied = sshScope([...rules, deny('d', { ssh: { operations: ['ReadFile'], paths: ['/home/*/secret/**'] } })]);
    const read = (path: string, tree = false) =>
      denied.decide(fileCommand('x', [{ operation: 'ReadFile', path, tree }], DEPLOY), context()).verdict;
    expect(read('/home/a/secret/.x')).toBe('Deny');
    expect(read('/home/a', true)).toBe('Deny');
    expect(read('/home', true)).toBe('Deny');
    expect(read('/srv', true)).toBe('Allow');
    expect(read('/home/a')).toBe('Allow');
  });
});

describe('files', () => {
  const rules = [
    allowSsh('down', {
      operations: ['ReadFile'],
      paths: ['/srv/www/**', '/srv/www/**/.htaccess', '/etc/motd', '/opt/*/conf'],
    }),
    allowSsh('up', { operations: ['WriteFile'], paths: ['/srv/up/**'] }),
  ];
  const access = (operation: 'ReadFile' | 'WriteFile', path: string): string =>
    sshScope(rules).decide(fileCommand('x', [{ operation, path }], DEPLOY), context()).verdict;

  it.each([
    '/srv/www',
    '/srv/www/a',
    '/srv/www/a/b',
    '/srv/www/.htaccess',
    '/srv/www/a/.htaccess',
    '/etc/motd',
    '/opt/a/conf',
  ])('%s is read', (path) => {
    expect(access('ReadFile', path)).toBe('Allow');
    expect(access('WriteFile', path)).toBe('Deny');
  });
  it.each([
    '/srv',
    '/srv/www2',
    '/srv/www/.ssh/id',
    '/srv/www/.git',
    '/srv/www/.git/.htaccess',
    '/srv/www/a/.b/c',
    '/etc/motd/x',
    '/opt/a/b/conf',
    '/opt/.a/conf',
    '/',
    '/srv/up/a',
  ])('%s is not', (path) => {
    expect(access('ReadFile', path)).toBe('Deny');
  });

  it.each([
    ['scp -f /srv/www/a', 'Allow'],
    ['scp -v -r -p -f /srv/www', 'Allow'],
    ['scp -t /srv/up', 'Allow'],
    ['scp -p -d -t -- /srv/up/x/', 'Allow'],
    ['/usr/bin/scp -qrt /srv/up', 'Allow'],
    ["scp -f '/srv/www/a b'", 'Allow'],
    ['scp -t /srv/www', 'Deny'],
    ['scp -f /srv/up', 'Deny'],
    ['scp -r -f /etc/motd', 'Deny'],
    ['scp -f /srv/www/../../etc/shadow', 'Deny'],
    ['scp -f srv/www/a', 'Deny'],
    ['scp -t .', 'Deny'],
    ['scp -f /srv/www/*', 'Deny'],
    ['scp -S /tmp/x -f /srv/www/a', 'Deny'],
    ['scp -oProxyCommand=x -f /srv/www/a', 'Deny'],
    ['scp -f -t /srv/up', 'Deny'],
    ['scp -t /srv/up /etc', 'Deny'],
    ['scp -t', 'Deny'],
    ['./scp -t /srv/up', 'Deny'],
    ['scp /srv/www/a evil:', 'Deny'],
    ['scp -t /srv/up; id', 'Deny'],
    ['rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv/www/', 'Allow'],
    ['rsync --server -vlogDtpre.iLsfxCIvu --delete --partial . /srv/up/', 'Allow'],
    ['rsync --server -vlogDtpre.iLsfxCIvu --log-format=X --timeout=30 . /srv/up/a', 'Allow'],
    ['rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv/www/a /srv/www/b', 'Allow'],
    ['rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv/up/', 'Deny'],
    ['rsync --server -vlogDtpre.iLsfxCIvu . /srv/www/', 'Deny'],
    ['rsync --server --sender -e.iLsfxCIvu --remove-source-files . /srv/www/', 'Deny'],
    ['rsync --server --sender -slogDtpre.iLsfxCIvu . /srv/www/', 'Deny'],
    ['rsync --server -s', 'Deny'],
    ['rsync --server --daemon . /srv/up', 'Deny'],
    ['rsync --server --config=/tmp/x --daemon .', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu -B1 . /srv/up', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu --block-size=1 . /srv/up', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu --files-from=/etc/x . /srv/up', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu --log-file=/etc/x . /srv/up', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu --backup-dir=/etc . /srv/up', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu --temp-dir=/etc . /srv/up', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu -T /etc . /srv/up', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu --link-dest=/etc . /srv/up', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu --partial-dir=/etc . /srv/up', 'Deny'],
    ['rsync --server -logDtpre.iLsfxCIvu --write-batch=/etc/x . /srv/up', 'Deny'],
    ['rsync --server -e sh . /srv/up', 'Deny'],
    ['rsync --server -esh . /srv/up', 'Deny'],
    ['rsync --server -K . /srv/up', 'Deny'],
    ['rsync --server --suffix=/../../etc -b . /srv/up', 'Deny'],
    ['rsync --server --sender -le.L . /srv/www/../../etc', 'Deny'],
    ['rsync --server --sender -le.L . srv', 'Deny'],
    ['rsync --server --sender -le.L /srv/www /srv/www', 'Deny'],
    ['rsync --server --sender -le.L . /etc/motd', 'Deny'],
  ])('%s: %s', (line, expected) => {
    expect(verdict(rules, line)).toBe(expected);
  });

  it('are left to who reads the protocol, when somebody does', () => {
    const decodes = ['sftp', 'scp'] as const;
    expect(analyseExec('scp -r -t /srv/up/', { ...DEPLOY, decodes })).toMatchObject({
      transfer: { type: 'scp', role: 'sink', paths: ['/srv/up'], recursive: true },
      tuples: [{ type: 'file', tree: false }],
    });
    expect(analyseExec('/usr/lib/openssh/sftp-server', { ...DEPLOY, decodes }).transfer).toEqual({ type: 'sftp' });
    for (const line of [
      'scp -t /srv/up; ls',
      'scp -t /srv/up </dev/zero',
      'sftp-server -d /',
      '/tmp/sftp-server',
      'sftp-server | ls',
    ]) {
      expect(analyseExec(line, { ...DEPLOY, decodes }).transfer).toBeUndefined();
    }
    expect(verdict(rules, 'internal-sftp', { ...DEPLOY, decodes })).toBe('Allow');
    expect(verdict(OPERATIONS.slice(0, 1), 'internal-sftp', { ...DEPLOY, decodes })).toBe('Deny');
  });

  it('that masking rules protect are not read where nobody could mask them', () => {
    const files = [{ paths: ['/srv/www/secret/**'] }, { paths: ['/srv/www/log'], action: 'Mask' as const }];
    const scope = sshScope([...rules, allowExec('e', ['cat **'])], { maskingRules: [mask('m', { files })] });
    const decided = (line: string): string =>
      scope.decide(analyseExec(line, { ...DEPLOY, decodes: ['scp'] }), context()).verdict;
    expect(decided('rsync --server --sender -le.L . /srv/www')).toBe('Deny');
    expect(decided('rsync --server --sender -le.L . /srv/www/other')).toBe('Allow');
    expect(decided('cat </srv/www/secret/a')).toBe('Deny');
    expect(decided('cat </srv/www/log')).toBe('Deny');
    expect(decided('cat </srv/www/other')).toBe('Allow');
    // Here each file is decided, and masked, by who asked.
    expect(decided('scp -f /srv/www/log')).toBe('Allow');
  });

  it('open the SFTP subsystem, and nothing else does', () => {
    const open = (some: readonly RuleSpec[], name = 'sftp', loginUser = 'deploy'): string =>
      sshScope(some).decide(subsystemCommand(name, { loginUser }), context()).verdict;
    expect(open(rules)).toBe('Allow');
    expect(open(rules, 'netconf')).toBe('Deny');
    expect(open(rules, 'sftp', 'root')).toBe('Deny');
    expect(open([allowExec('e', ['**'])])).toBe('Deny');
    expect(open([...rules, deny('d', { ssh: { loginUsers: ['deploy'] } })])).toBe('Deny');
    expect(open([allowSsh('s', { operations: ['Subsystem'], subsystems: ['netconf'] })], 'netconf')).toBe('Allow');
  });
});

describe('channels', () => {
  const rules = [
    allowSsh('f', {
      operations: ['LocalForward', 'RemoteForward'],
      destinations: ['127.0.0.1:9100', '*.internal:*', '10.*:80', '[::1]:9100', 'unix:/run/shop/*.sock'],
    }),
  ];
  const to = (host: string, port: number): string =>
    sshScope(rules).decide(forwardCommand('LocalForward', { host, port }, DEPLOY), context()).verdict;
  const unix = (socket: string): string =>
    sshScope(rules).decide(forwardCommand('RemoteForward', { socket }, DEPLOY), context()).verdict;

  it('go where a rule says', () => {
    expect(to('127.0.0.1', 9100)).toBe('Allow');
    expect(to('DB.Internal', 5432)).toBe('Allow');
    expect(to('db.internal.', 5432)).toBe('Allow');
    expect(to('10.1.2.3', 80)).toBe('Allow');
    expect(to('::1', 9100)).toBe('Allow');
    expect(unix('/run/shop/a.sock')).toBe('Allow');
    expect(to('127.0.0.1', 9101)).toBe('Deny');
    expect(to('10.example.com', 80)).toBe('Deny');
    expect(to('db.internal.evil.com', 80)).toBe('Deny');
    expect(to('unix', 80)).toBe('Deny');
    expect(unix('/run/shop/../docker.sock')).toBe('Deny');
    expect(unix('/run/docker.sock')).toBe('Deny');
  });

  it('are hit by a Deny in whatever form an address is written, and covered as they are written', () => {
    const denied = [
      allowSsh('any', { operations: ['LocalForward'], destinations: ['*:*', 'unix:*'] }),
      deny('metadata', {
        ssh: { destinations: ['169.254.169.254:*', '[fd00:ec2:0::254]:*', '10.*:*', 'unix:/run/docker.sock'] },
      }),
    ];
    const decide = (address: Parameters<typeof forwardCommand>[1]): string =>
      sshScope(denied).decide(forwardCommand('LocalForward', address, DEPLOY), context()).verdict;
    for (const host of [
      ...['169.254.169.254', '169.254.169.254.', '169.254.43518', '2852039166', '0xA9FEA9FE', '0251.0376.0251.0376'],
      ...[
        '::ffff:169.254.169.254',
        '0:0:0:0:0:ffff:a9fe:a9fe',
        '[::FFFF:a9fe:a9fe]',
        'fd00:ec2::254',
        'fd00:0ec2::0254',
      ],
      ...['fd00:ec2::254%eth0', '10.1', '0xa.1.2.3', '::ffff:10.1.2.3'],
    ])
      expect(decide({ host, port: 80 }), host).toBe('Deny');
    for (const socket of ['/run/docker.sock', '//run/./docker.sock', '/run/x/../docker.sock', 'run/docker.sock'])
      expect(decide({ socket }), socket).toBe('Deny');
    for (const host of ['169.254.169.253', 'example.com', '1.2.3.4.5', '08.1', '::1', 'a b', '0x'])
      expect(decide({ host, port: 80 }), host).toBe('Allow');
    expect(to('0x7f.1', 9100)).toBe('Deny');
    expect(to('0:0:0:0:0:0:0:1', 9100)).toBe('Deny');
  });

  it('are denied unless named', () => {
    const decide = (some: readonly RuleSpec[]) => {
      const scope = sshScope(some);
      return [
        shellCommand(DEPLOY),
        channelCommand('AgentForward', DEPLOY),
        channelCommand('X11Forward', DEPLOY),
        channelCommand('Tunnel', DEPLOY),
      ].map((command) => scope.decide(command, context()).verdict);
    };
    expect(decide([allowExec('all', ['**'])])).toEqual(['Deny', 'Deny', 'Deny', 'Deny']);
    expect(decide([allowSsh('s', { operations: ['Shell'] }, { approval: {} })])).toEqual([
      'RequireApproval',
      'Deny',
      'Deny',
      'Deny',
    ]);
    expect(decide([allowSsh('s', { operations: ['AgentForward', 'X11Forward', 'Tunnel'] })])).toEqual([
      'Deny',
      'Allow',
      'Allow',
      'Allow',
    ]);
  });

  it('and so is a terminal for a command, which is as good as a shell', () => {
    const all = allowExec('all', ['**']);
    const terminal = { ...DEPLOY, interactive: true };
    expect(exec([all], 'systemctl status shop', terminal)).toMatchObject({
      verdict: 'Deny',
      denied: 'Shell (a terminal for the command)',
    });
    const shell = allowSsh('s', { operations: ['Shell'] }, { approval: {}, limits: { maxDuration: '30m' } });
    expect(exec([all, shell], 'systemctl status shop', terminal)).toMatchObject({
      verdict: 'RequireApproval',
      limits: { maxDurationMs: 1_800_000 },
    });
    expect(verdict([allowSsh('s', { operations: ['Shell'] })], 'systemctl status shop', terminal)).toBe('Deny');
  });

  it('are known before any of them is asked for', () => {
    expect([...sshScope(rules).operations('deploy')].sort()).toEqual(['LocalForward', 'RemoteForward']);
    expect(sshScope(rules).operations('root').size).toBe(0);
    expect(sshScope(rules, { connections: [sshConnection('web', { mode: 'Observe' })] }).operations('root').size).toBe(
      11,
    );
  });
});

describe('conditions', () => {
  const when = (expression: string) => [allowExec('w', ['systemctl **'], { when: expression })];
  it.each([
    'command.ssh.operation == "Exec" && command.ssh.loginUser == "deploy"',
    'command.ssh.argv[1] == "status" && size(command.ssh.argv) == 3',
    'command.ssh.path == "" && command.ssh.destination == "" && command.ssh.subsystem == ""',
    '!command.ssh.interactive',
    'command.protocol == "SSH" && command.text.startsWith("systemctl")',
  ])('%s', (expression) => {
    expect(verdict(when(expression), 'systemctl status shop')).toBe('Allow');
  });
  it('see each part on its own', () => {
    expect(verdict(when('command.ssh.argv[1] == "status"'), 'systemctl status a; systemctl stop b')).toBe('Deny');
    const shell = allowSsh('s', { operations: ['Shell'] });
    const terminal = { ...DEPLOY, interactive: true };
    expect(verdict([...when('command.ssh.interactive'), shell], 'systemctl status a', terminal)).toBe('Allow');
    expect(verdict([...when('command.ssh.interactive'), shell], 'systemctl status a')).toBe('Deny');
  });
  it('about SQL never hold for SSH, and those about SSH never for SQL', () => {
    expect(verdict(when('command.sql.hasWhere'), 'systemctl status a')).toBe('Deny');
    expect(verdict([allowExec('a', ['id']), deny('d', { when: 'command.sql.hasWhere' })], 'id')).toBe('Deny');
  });
});

it('limits and approvals come from the rules that cover each part', () => {
  const rules = [
    allowExec('a', ['id'], { limits: { maxDuration: '10s', maxBytesReturned: 100 } }),
    allowExec('b', ['date'], { limits: { maxDuration: '5s' }, approval: { requiredApprovals: 2 } }),
  ];
  expect(exec(rules, 'id').limits).toEqual({ maxDurationMs: 10_000, maxBytesReturned: 100 });
  const both = exec(rules, 'id; date');
  expect(both).toMatchObject({ verdict: 'RequireApproval', limits: { maxDurationMs: 5000, maxBytesReturned: 100 } });
  expect(both.requirements).toMatchObject([{ requiredApprovals: 2 }]);
});

it('bytes that are not UTF-8 are opaque, and shown so that different ones differ', () => {
  const command = analyseExec(new Uint8Array([0x6c, 0x73, 0x20, 0xff]), DEPLOY);
  expect(command).toMatchObject({ text: 'ls \\xff', tuples: [{ type: 'opaque' }] });
  expect(analyseExec(Buffer.from('ls é'), DEPLOY).text).toBe('ls é');
});

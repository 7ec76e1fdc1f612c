import { describe, expect, it } from 'vitest';
import type { RuleSpec } from '../rule.ts';
import { compiled, deny, guardrail, hold, policy } from '../testing/build.ts';
import { allowExec, allowSsh, sshConnection } from '../testing/ssh.ts';

const found = (rules: readonly RuleSpec[], guardrails: readonly RuleSpec[] = []): string[] =>
  compiled({
    connections: [sshConnection()],
    policies: [policy('p', rules), ...(guardrails.length === 0 ? [] : [guardrail('g', guardrails)])],
  }).problems.map(({ code, message }) => `${code} ${message}`);

describe('reported of rules for SSH', () => {
  it('is nothing when all is well', () => {
    expect(
      found([
        allowExec('e', [
          'systemctl status *',
          'sudo systemctl restart shop',
          '/usr/bin/id',
          'scp **',
          "sh -c 'cd /srv; make'",
          '*',
        ]),
        allowSsh('f', { operations: ['ReadFile'], paths: ['/var/log/**'] }),
        hold('h', { ssh: { operations: ['Exec'], commands: ['systemctl restart *'] } }),
        deny('d', { ssh: { operations: ['WriteFile'], paths: ['/etc/**'] } }),
      ]),
    ).toEqual([]);
  });

  it.each([
    ['PATH=/x ls', 'it assigns a variable'],
    ['if true', 'it has the shell keyword if'],
    ['~/bin/run *', 'the first word of a command is no plain name of a program'],
    ['-x', 'the first word of a command is no plain name of a program'],
  ])('the pattern %s', (pattern, reason) => {
    expect(found([allowExec('e', [pattern])])).toEqual([
      `SPP013 rule e: "${pattern}" can never match: such a line is opaque: ${reason}`,
    ]);
  });

  it.each(['scp -t /srv/up/*', 'scp -f *', 'rsync --server --sender -le.L . /srv/**'])(
    'a file transfer as a command: %s',
    (pattern) => {
      const [problem] = found([allowExec('e', [pattern])]);
      expect(problem).toContain('it is judged by rules with ReadFile or WriteFile and paths');
    },
  );

  it('a port that there is not', () => {
    const [problem] = found([
      allowSsh('f', { operations: ['LocalForward'], destinations: ['db:70000', 'db:5432', 'unix:/a:99999'] }),
    ]);
    expect(problem).toBe('SPP013 rule f: "db:70000" can never match: ports end at 65535');
  });

  it('a login user that no certificate is for', () => {
    const rule = allowSsh('e', { operations: ['Exec'], loginUsers: ['root', 'deploy'], commands: ['id'] });
    expect(found([rule])).toEqual([
      'SPP014 rule e lets root log in, but certificates of shop/web are signed for other principals',
    ]);
    expect(found([allowSsh('e', { operations: ['Exec'], loginUsers: ['*'], commands: ['id'] })])).toEqual([]);
  });

  it('a rule that a shell undoes', () => {
    const shell = allowSsh('s', { operations: ['Shell'] });
    const rm = deny('d', { ssh: { operations: ['Exec'], commands: ['rm **'] } });
    const message =
      'SPP015 rule d is about commands or files, but shop/p/s gives a shell, in which neither is controlled';
    expect(found([shell, rm])).toEqual([message]);
    expect(found([shell], [rm])).toEqual([message]);
    expect(found([shell, deny('d', { ssh: { operations: ['Exec'], loginUsers: ['root'] } })])).toEqual([]);
    expect(found([shell, deny('d', { ssh: { operations: ['Exec', 'Shell'] } })])).toEqual([]);
  });

  it('RequireApproval of what nothing allows', () => {
    const meets = (one: RuleSpec, allowed: RuleSpec): boolean => found([one, allowed]).length === 0;
    const held = (ssh: NonNullable<RuleSpec['ssh']>): RuleSpec => hold('h', { ssh });
    expect(meets(held({ operations: ['Exec'], commands: ['rm **'] }), allowExec('e', ['id']))).toBe(false);
    expect(meets(held({ operations: ['Exec'], commands: ['rm **'] }), allowExec('e', ['sudo rm *']))).toBe(true);
    expect(meets(held({ operations: ['Exec'], commands: ['rm **'] }), allowExec('e', ['**']))).toBe(true);
    expect(meets(held({ operations: ['Exec'], commands: ['rm -rf *'] }), allowExec('e', ['rm * /tmp']))).toBe(true);
    expect(
      meets(
        held({ operations: ['ReadFile'], paths: ['/etc/**'] }),
        allowSsh('f', { operations: ['ReadFile'], paths: ['/**/passwd'] }),
      ),
    ).toBe(true);
    expect(
      meets(
        held({ operations: ['ReadFile'], paths: ['/etc/**'] }),
        allowSsh('f', { operations: ['ReadFile'], paths: ['/var/*'] }),
      ),
    ).toBe(false);
    expect(
      meets(held({ operations: ['ReadFile'] }), allowSsh('f', { operations: ['WriteFile'], paths: ['/var/*'] })),
    ).toBe(false);
    expect(meets(held({ loginUsers: ['root'] }), allowExec('e', ['id']))).toBe(false);
    expect(
      meets(
        held({ operations: ['LocalForward'], destinations: ['*:22'] }),
        allowSsh('f', { operations: ['LocalForward'], destinations: ['db:*'] }),
      ),
    ).toBe(true);
    expect(meets(held({ operations: ['Shell'] }), allowSsh('f', { operations: ['Opaque'] }))).toBe(true);
  });
});

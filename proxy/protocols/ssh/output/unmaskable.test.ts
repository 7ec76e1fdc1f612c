import { describe, expect, it } from 'vitest';
import { compileMask, planMasks } from '../../../../policy/mask-plan.ts';
import { shellCommand, subsystemCommand } from '../../../../policy/ssh/commands.ts';
import { analyseExec } from '../../../../policy/ssh/exec.ts';
import { mask } from '../../../../policy/testing/build.ts';
import { isMachineProtocol, whyUnmaskable } from './unmaskable.ts';

const asked = { loginUser: 'deploy' };
const exec = (text: string) => analyseExec(text, { ...asked, decodes: ['sftp', 'scp'] });
const plan = (...masks: ReturnType<typeof mask>[]) => planMasks(masks.map(compileMask));

const content = plan(mask('pii', { content: [{ detectors: ['Email'] }] }));
const files = plan(mask('secret', { files: [{ paths: ['/etc/shadow', '/srv/customers/**'] }] }));

describe('under masks', () => {
  it.each(['cat /etc/hosts', 'ls -l; id', 'psql -c "select 1"'])('%s may run', (text) => {
    expect(whyUnmaskable(exec(text), content)).toBeUndefined();
    expect(whyUnmaskable(exec(text), files)).toBeUndefined();
  });

  it('a shell, git, subsystems and files that rsync reads may not', () => {
    expect(whyUnmaskable(shellCommand(asked), content)).toContain('a shell');
    expect(whyUnmaskable(shellCommand(asked), files)).toContain('a shell');
    expect(whyUnmaskable(subsystemCommand('netconf', asked), content)).toContain('netconf');
    expect(whyUnmaskable(subsystemCommand('sftp', asked), content)).toBeUndefined();
    expect(whyUnmaskable(exec("git-upload-pack '/srv/a.git'"), content)).toContain('shop/pii');
    expect(whyUnmaskable(exec('/usr/bin/git-receive-pack /srv/a.git'), content)).toContain('nothing can be masked');
    expect(whyUnmaskable(exec('rsync --server --sender -logDtpre.iLsfxC . /home/'), content)).toContain('/home');
  });

  it('redirections and trees do not lead around files that are not read', () => {
    expect(whyUnmaskable(exec('sort < /etc/shadow'), files)).toContain('shop/secret');
    expect(whyUnmaskable(exec('rsync --server --sender -logDtpre.iLsfxC . /srv/'), files)).toContain('shop/secret');
    expect(whyUnmaskable(exec('rsync --server --sender -logDtpre.iLsfxC . /home/'), files)).toBeUndefined();
  });

  it.each([
    'rsync --server -logDtpre.iLsfxCIvu . /srv/customers/',
    'rsync --server -logDtpre.iLsfxCIvuW . /srv/customers/',
    'rsync --server -logDtprWce.iLsfxCIvu . /srv/customers/',
    'rsync --server -logDtprWye.iLsfxCIvu . /srv/customers/',
    'rsync --server -logDtprWe.iLsfxCIvu --append-verify . /srv/customers/',
    'rsync --server -logDtprWe.iLsfxCIvu --no-W . /srv/customers/',
    'true; rsync --server -r . /srv/customers/',
  ])('%s tells what is in the files that it writes', (text) => {
    expect(whyUnmaskable(exec(text), content)).toContain('--whole-file');
    expect(whyUnmaskable(exec(text), files)).toContain('--whole-file');
  });

  it('rsync writes whole files, and compares where nothing is masked', () => {
    for (const text of [
      'rsync --server -logDtprWe.iLsfxCIvu . /srv/customers/',
      'rsync --server -r --whole-file . /srv/customers',
    ])
      for (const masks of [content, files]) expect(whyUnmaskable(exec(text), masks)).toBeUndefined();
    expect(whyUnmaskable(exec('rsync --server -re.iLsfxCIvu . /var/spool/'), files)).toBeUndefined();
  });

  it('a mask token is not written back', () => {
    expect(whyUnmaskable(exec(`echo sptok_${'a2'.repeat(13)}`), content)).toContain('mask token');
  });

  it('without masks everything may', () => {
    for (const command of [shellCommand(asked), exec("git-upload-pack '/srv/a.git'")])
      expect(whyUnmaskable(command, plan())).toBeUndefined();
  });
});

it('what speaks a file protocol by itself is told apart from programs', () => {
  expect(isMachineProtocol(exec('rsync --server -logDtpre.iLsfxC . /srv/'))).toBe(true);
  expect(isMachineProtocol(exec('scp -t /srv'))).toBe(false);
  expect(isMachineProtocol(exec('cat < /etc/hosts'))).toBe(false);
  expect(isMachineProtocol(shellCommand(asked))).toBe(false);
});

import type { SshCommand } from '../../../../policy/command.ts';
import type { MaskPlan } from '../../../../policy/masking.ts';
import { comparesContents } from '../../../../policy/ssh/rsync.ts';
import { isMaskToken } from '../../../masking/token-format.ts';

/**
 * A masked value leaves by no channel: what could carry one past the masks is not run where they are in force, whatever else allows it.
 * What is said here completes "denied: …".
 */

/** Programs that speak a protocol of their own on their streams, in which nothing can be replaced. */
const OWN_PROTOCOL = /(^|\/)git-(upload-pack|receive-pack|upload-archive|shell)$/;

/**
 * The whole command is one file protocol that nobody decodes (`rsync --server`, `scp -t`): its output is for a program, and what a mask
 * changed or kept back there would break it.
 */
export function isMachineProtocol({ tuples, transfer }: SshCommand): boolean {
  return transfer === undefined && tuples.length > 0 && tuples.every(({ type }) => type === 'file');
}

/** Why a program cannot be run under these masks; undefined: it can. */
export function whyUnmaskable(command: SshCommand, masks: MaskPlan): string | undefined {
  const { tuples } = command;
  const looks = masks.content.length > 0;
  if (!looks && !masks.hasFiles) return undefined;
  const rules = rulesOf(masks);
  if (looks && isMaskToken(command.text))
    return 'it holds a mask token, which stands for a value that is masked: writing it back would destroy the value';
  for (const tuple of tuples) {
    if (tuple.type === 'channel' && tuple.operation === 'Shell')
      return `what is typed into a shell is not judged, and masking rules are in force here${rules}`;
    if (tuple.type === 'subsystem' && tuple.name !== 'sftp')
      return `the subsystem ${tuple.name} speaks a protocol in which nothing can be masked, and masking rules are in force here${rules}`;
    if (tuple.type === 'exec' && OWN_PROTOCOL.test(tuple.argv[0] ?? ''))
      return `${tuple.argv[0]} speaks a protocol in which nothing can be masked, and masking rules are in force here${rules}`;
    if (tuple.type !== 'file') continue;
    const of = masks.file(tuple.path, tuple.tree);
    if (tuple.operation === 'WriteFile') {
      const argv = command.statements[tuple.statement]?.argv ?? [];
      if ((looks || of !== undefined) && comparesContents(argv))
        return `rsync would tell checksums of what is in ${tuple.path}, and masking rules are in force here${rules}; with --whole-file, and without options that compare contents, it does not`;
      continue;
    }
    if (of?.action === 'Deny') return protectedFile(tuple.path, of.rules);
    if (isMachineProtocol(command) && (looks || of !== undefined))
      return `what is read of ${tuple.path} cannot be masked in this protocol, and masking rules are in force here${rules}; sftp can be used instead`;
  }
  return undefined;
}

/** What a client reads of a file whose contents it may not have. */
export function protectedFile(path: string, rules: readonly string[]): string {
  return `the contents of ${path} are protected by masking rule ${rules.join(', ')}`;
}

function rulesOf({ content }: MaskPlan): string {
  const names = [...new Set(content.map(({ rule }) => rule))].sort();
  return names.length === 0 ? '' : `: ${names.join(', ')}`;
}

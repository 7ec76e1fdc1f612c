import { OpenSshError } from '../../../../certificate/openssh/errors.ts';
import { parseHostKeyPin } from '../../../../certificate/openssh/known-hosts.ts';
import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { PinnedHostKey } from '../transport/port.ts';
import { SshCredentialError } from './errors.ts';

/**
 * What the target has to prove itself with. Nothing is trusted on first use: one entry that cannot be read refuses the connection
 * rather than leaving the others to be all there is.
 * @throws SshCredentialError SPK025
 */
export function pinnedHostKeys({ namespace, name, target }: CompiledConnection): readonly PinnedHostKey[] {
  const label = `${namespace}/${name}`;
  if (target.hostKeys.length === 0) throw new SshCredentialError('SPK025', [label, 'there is none']);
  return target.hostKeys.map((line) => {
    try {
      const { type, key } = parseHostKeyPin(line);
      return { type, key: key.blob };
    } catch (error) {
      if (error instanceof OpenSshError) throw new SshCredentialError('SPK025', [label, error.message], error);
      throw error;
    }
  });
}

import { OpenSshError } from './errors.ts';
import { formatPublicKey, parsePublicKeyLine, type SshPublicKey } from './public-key.ts';

/** A key, or an authority of host certificates, that a host may prove itself with. */
export interface HostKeyPin {
  readonly type: 'key' | 'authority';
  readonly key: SshPublicKey;
}

const AUTHORITY = '@cert-authority ';

/** A line of known_hosts without its hosts: `[@cert-authority ]TYPE BASE64[ COMMENT]`. @throws OpenSshError */
export function parseHostKeyPin(line: string): HostKeyPin {
  if (line.startsWith('@') && !line.startsWith(AUTHORITY))
    throw new OpenSshError('of the markers of known_hosts only @cert-authority is understood');
  const authority = line.startsWith(AUTHORITY);
  return {
    type: authority ? 'authority' : 'key',
    key: parsePublicKeyLine(authority ? line.slice(AUTHORITY.length) : line),
  };
}

/** A host as known_hosts names it: in brackets with a port other than 22 (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
export const knownHost = (host: string, port: number): string => (port === 22 ? host : `[${host}]:${port}`);

/** A line that lets every host of the patterns prove itself with a certificate of the authority. @param hosts such as `*` */
export const authorityLine = (hosts: readonly string[], authority: Pick<SshPublicKey, 'type' | 'blob'>): string =>
  `${AUTHORITY}${hosts.join(',')} ${formatPublicKey(authority, 'sallyport')}`;

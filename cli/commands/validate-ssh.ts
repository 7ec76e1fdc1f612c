import type { Finding, Loaded } from '../../api/load.ts';
import { OpenSshError } from '../../certificate/openssh/errors.ts';
import { parseHostKeyPin } from '../../certificate/openssh/known-hosts.ts';
import { parsePublicKeyLine } from '../../certificate/openssh/public-key.ts';
import { cliMessage } from '../errors.ts';

type Path = readonly (string | number)[];

/** Finds keys in AccessConnections that look like keys and are none: the gateway would refuse whoever comes with them. */
export function checkSshKeys({ resources, places }: Loaded): Finding[] {
  return resources.connections.flatMap(({ metadata, spec }) => {
    const label = `${metadata.namespace}/${metadata.name}`;
    const look = (path: Path, parse: (line: string) => unknown, line: string): Finding[] => {
      try {
        parse(line);
        return [];
      } catch (error) {
        if (!(error instanceof OpenSshError)) throw error;
        const place = places.get(`AccessConnection/${label}`)?.(path) ?? { file: '', line: 1, column: 1 };
        const { message } = error;
        return [
          { severity: 'error', ...place, code: 'SPC044', ...cliMessage('SPC044', [label, written(path), message]) },
        ];
      }
    };
    const { authorizedKeys = [], trustedUserCAs = [] } = spec.ssh ?? {};
    return [
      ...(spec.target.hostKeys ?? []).flatMap((line, index) =>
        look(['spec', 'target', 'hostKeys', index], parseHostKeyPin, line),
      ),
      ...authorizedKeys.flatMap(({ publicKey }, index) =>
        look(['spec', 'ssh', 'authorizedKeys', index, 'publicKey'], parsePublicKeyLine, publicKey),
      ),
      ...trustedUserCAs.flatMap(({ publicKey }, index) =>
        look(['spec', 'ssh', 'trustedUserCAs', index, 'publicKey'], parsePublicKeyLine, publicKey),
      ),
    ];
  });
}

const written = (path: Path): string =>
  path.reduce<string>((text, part) => (typeof part === 'number' ? `${text}[${part}]` : `${text}.${part}`), '').slice(1);

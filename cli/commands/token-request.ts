import { type Command, InvalidArgumentError, Option } from 'commander';
import type { DevelopmentTokenRequest } from '../../proxy/identity/development.ts';
import { type CliIo, defaultState } from '../io.ts';

/** Options of the commands that make a token of the development issuer. */
export interface TokenOptions {
  readonly as: string;
  readonly group: readonly string[];
  readonly claim: ReadonlyMap<string, string | readonly string[]>;
  readonly ttl: number;
  readonly state: string;
}

const UNITS = { s: 1, m: 60, h: 3600 } as const;

/** Seconds in `90s`, `10m`, `1h30m`. */
export function seconds(text: string): number {
  if (!/^(\d{1,6}[smh])+$/.test(text)) throw new InvalidArgumentError('Write a time such as 90s, 10m or 1h30m.');
  let sum = 0;
  for (const [, count = '', unit = ''] of text.matchAll(/(\d+)([smh])/g))
    sum += Number(count) * UNITS[unit as keyof typeof UNITS];
  return sum;
}

function addClaim(
  text: string,
  earlier: ReadonlyMap<string, string | readonly string[]>,
): ReadonlyMap<string, string | readonly string[]> {
  const equals = text.indexOf('=');
  if (equals <= 0) throw new InvalidArgumentError('Write a claim as NAME=VALUE.');
  const name = text.slice(0, equals);
  const value = text.slice(equals + 1);
  const known = earlier.get(name);
  return new Map([...earlier, [name, known === undefined ? value : [known, value].flat()]]);
}

export function addTokenOptions(command: Command, io: CliIo): Command {
  return command
    .requiredOption('--as <subject>', 'system:serviceaccount:NAMESPACE:NAME, or ALIAS:SUBJECT')
    .option(
      '--group <group>',
      'a group, such as team:data; may be repeated',
      (group: string, earlier: readonly string[]) => [...earlier, group],
      [] as readonly string[],
    )
    .option(
      '--claim <name=value>',
      'a further claim; may be repeated, the same name twice makes a list',
      addClaim,
      new Map(),
    )
    .addOption(
      new Option('--ttl <time>', 'how long the token lives, 24h at most').argParser(seconds).default(600, '10m'),
    )
    .option('--state <dir>', 'state folder of the gateway', defaultState(io.env));
}

export function tokenRequest(options: TokenOptions): DevelopmentTokenRequest {
  // fromEntries defines own properties, so that a claim called __proto__ is a claim.
  return {
    subject: options.as,
    groups: options.group,
    claims: Object.fromEntries(options.claim),
    ttlSeconds: options.ttl,
  };
}

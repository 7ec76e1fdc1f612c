import type { AccessPolicy } from '../../api/resources.ts';
import type { SshTuple } from '../command.ts';

type SshSpec = NonNullable<AccessPolicy['spec']['rules'][number]['ssh']>;

const SHOWN = 200;
const LISTED = 6;

/** Words as a shell would take them. */
export function argvWords(argv: readonly string[]): string {
  const text = argv
    .map((word) => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(' ');
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

/** What a tuple is, in the words of a denial. */
export function sshTupleWords(tuple: SshTuple): string {
  switch (tuple.type) {
    case 'exec':
      return `Exec of ${argvWords(tuple.argv)}`;
    case 'file':
      return `${tuple.operation} of ${tuple.path}${tuple.tree ? ' and what is below' : ''}`;
    case 'forward':
      return `${tuple.operation} ${tuple.operation === 'LocalForward' ? 'to' : 'on'} ${tuple.destination}`;
    case 'channel':
      return tuple.terminal === true ? 'Shell (a terminal for the command)' : tuple.operation;
    case 'subsystem':
      return `Subsystem ${tuple.name}`;
    case 'opaque':
      return `a command whose effect cannot be seen from its text (Opaque): ${tuple.reason}`;
    default: {
      const never: never = tuple;
      throw new Error(`tuple of unknown type ${JSON.stringify(never)}`);
    }
  }
}

/** What to send in place of something that every Deny rule hits. */
export function sshOpaqueAdvice(tuple: SshTuple): string {
  return tuple.type === 'exec'
    ? `run what ${tuple.argv[0] ?? 'it'} would run as a command of its own instead`
    : 'send plain commands with literal words instead';
}

/** Why no Allow rule covers it, where its words alone do not say so. */
export function sshUncoveredAdvice(tuple: SshTuple): string | undefined {
  if (tuple.type === 'opaque') {
    return 'Only plain commands with literal words can be judged; only a rule with the operation Opaque allows others.';
  }
  if (tuple.type === 'channel') {
    return tuple.terminal === true
      ? 'What is typed into a program cannot be judged: run it without a terminal (ssh -T), or under a rule with the operation Shell.'
      : undefined;
  }
  if (tuple.type === 'file') {
    if (tuple.path.includes('/.')) return 'Hidden names are covered only where a path of a rule spells the dot out.';
    return tuple.tree ? 'It moves everything below, so only a path of a rule that ends with /** covers it.' : undefined;
  }
  if (tuple.type !== 'exec') return undefined;
  if (tuple.unsure !== undefined) return `It cannot be judged as a file transfer: ${tuple.unsure}.`;
  if (!tuple.wrapper) return undefined;
  return `${tuple.argv[0] ?? 'It'} runs what its words say, so only a rule whose commands name it covers it.`;
}

/** What an Allow rule grants: `Exec of systemctl status * as deploy`. */
export function sshGrantWords({
  operations = [],
  loginUsers = [],
  commands = [],
  paths = [],
  destinations = [],
  subsystems = [],
}: SshSpec): string {
  const groups: string[] = [];
  const group = (names: readonly string[], preposition: string, objects: readonly string[]): void => {
    const given = names.filter((name) => (operations as readonly string[]).includes(name));
    if (given.length > 0)
      groups.push(`${given.join(', ')}${objects.length === 0 ? '' : ` ${preposition} ${listed(objects)}`}`);
  };
  group(['Exec'], 'of', commands);
  group(['ReadFile', 'WriteFile'], 'of', paths);
  group(['LocalForward', 'RemoteForward'], 'to', destinations);
  group(['Subsystem'], '', subsystems);
  group(['Shell', 'AgentForward', 'X11Forward', 'Tunnel', 'Opaque'], '', []);
  const users = loginUsers.includes('*') ? 'any user' : loginUsers.join(' or ');
  return `${groups.join('; ')} as ${users}`;
}

/** The first few. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, LISTED).join(', ');
  return names.length > LISTED ? `${shown} and ${names.length - LISTED} more` : shown;
}

import type { AccessPolicy } from '../../api/resources.ts';
import type { SshOperation, SshTuple } from '../command.ts';
import { type ArgvPattern, compileArgvPattern, grantsArgv, hitsArgv, hitsWrapped } from './argv-pattern.ts';
import { compileDestination, type DestinationPattern } from './destination-pattern.ts';
import { compilePathPattern, grantsPath, hitsPath, type PathPattern } from './path-pattern.ts';

type SshSpec = NonNullable<AccessPolicy['spec']['rules'][number]['ssh']>;

/** The lists of `ssh` in a rule. Undefined: any. */
export interface SshMatcher {
  readonly operations: ReadonlySet<SshOperation> | undefined;
  readonly loginUsers: ReadonlySet<string> | undefined;
  readonly commands: readonly ArgvPattern[] | undefined;
  readonly paths: readonly PathPattern[] | undefined;
  readonly destinations: readonly DestinationPattern[] | undefined;
  readonly subsystems: ReadonlySet<string> | undefined;
}

export function compileSsh(spec: SshSpec): SshMatcher {
  return {
    operations: spec.operations && new Set(spec.operations),
    loginUsers: spec.loginUsers && new Set(spec.loginUsers),
    commands: spec.commands?.map(compileArgvPattern),
    paths: spec.paths?.map(compilePathPattern),
    destinations: spec.destinations?.map(compileDestination),
    subsystems: spec.subsystems && new Set(spec.subsystems),
  };
}

/** Whether the rule is about the login user at all. */
export function aboutUser({ loginUsers }: SshMatcher, loginUser: string): boolean {
  return loginUsers === undefined || loginUsers.has('*') || loginUsers.has(loginUser);
}

/** Whether the lists of an Allow rule cover the whole tuple; what a list that is absent would mean, it does not grant. */
export function coversSsh(matcher: SshMatcher, tuple: SshTuple, loginUser: string): boolean {
  const { operations, loginUsers } = matcher;
  if (operations === undefined || loginUsers === undefined || !aboutUser(matcher, loginUser)) return false;
  if (tuple.type === 'exec' && tuple.wrapper && operations.has('Opaque')) return true;
  if (!operations.has(tuple.operation)) return false;
  switch (tuple.type) {
    case 'exec':
      return matcher.commands?.some((pattern) => grantsArgv(pattern, tuple.argv, tuple.wrapper)) === true;
    case 'file':
      return matcher.paths?.some((pattern) => grantsPath(pattern, tuple.path, tuple.tree)) === true;
    case 'forward':
      return matcher.destinations?.some((pattern) => pattern.grants(tuple.destination)) === true;
    case 'subsystem':
      return matcher.subsystems?.has(tuple.name) === true;
    case 'channel':
    case 'opaque':
      return true;
    default: {
      const never: never = tuple;
      throw new Error(`tuple of unknown type ${JSON.stringify(never)}`);
    }
  }
}

/**
 * Whether the lists of a Deny or RequireApproval rule hit the tuple. Not for what is opaque, which every rule hits.
 */
export function hitsSsh(matcher: SshMatcher, tuple: SshTuple, loginUser: string): boolean {
  const { operations } = matcher;
  if (!aboutUser(matcher, loginUser)) return false;
  if (operations !== undefined && !operations.has(tuple.operation)) return false;
  switch (tuple.type) {
    case 'exec': {
      const hits = tuple.wrapper ? hitsWrapped : hitsArgv;
      return matcher.commands?.some((pattern) => hits(pattern, tuple.argv)) !== false;
    }
    case 'file':
      return matcher.paths?.some((pattern) => hitsPath(pattern, tuple.path, tuple.tree)) !== false;
    case 'forward':
      return matcher.destinations?.some((pattern) => pattern.hits(tuple.destination)) !== false;
    case 'subsystem':
      // Requests of sftp are decided one by one, so a rule about subsystems means the others.
      if (tuple.name === 'sftp') return operations === undefined;
      return matcher.subsystems?.has(tuple.name) !== false;
    case 'channel':
    case 'opaque':
      return true;
    default: {
      const never: never = tuple;
      throw new Error(`tuple of unknown type ${JSON.stringify(never)}`);
    }
  }
}

/** Whether a rule lets files be read or written, so that an SFTP session may begin in which each request is decided. */
export function grantsFiles(matcher: SshMatcher, loginUser: string): boolean {
  const { operations } = matcher;
  return (
    aboutUser(matcher, loginUser) &&
    operations !== undefined &&
    (operations.has('ReadFile') || operations.has('WriteFile'))
  );
}

import type {
  FileFacts,
  FileOutcomeFacts,
  ProgramFacts,
  ProgramOutcome,
  StreamFacts,
} from '../../record/replay/program-steps.ts';

/** Words about programs and files of SSH sessions. Not yet safe to show: whoever shows them escapes them. */

/** `as deploy`, and what else there is to say of it. */
export function programWords({ operation, user, destination, terminal, channel }: ProgramFacts): readonly string[] {
  return [
    user === undefined ? operation : `${operation} as ${user}`,
    destination,
    terminal === undefined ? undefined : `on a terminal of ${terminal.columns}x${terminal.rows}`,
    channel === undefined || channel === 0 ? undefined : `channel ${channel}`,
  ].filter((fact) => fact !== undefined);
}

export function endWords({ exit, signal, stdin, bytesIn }: ProgramOutcome): readonly string[] {
  return [
    exit === undefined ? undefined : `exit ${exit}`,
    signal === undefined ? undefined : `killed by ${signal}`,
    stdin === undefined || stdin.bytes === 0 ? undefined : `${stdin.bytes} B of input`,
    bytesIn === undefined ? undefined : `${bytesIn} B from the client`,
  ].filter((fact) => fact !== undefined);
}

/** What is not in the record of what a program printed. */
export function unrecordedWords({ stdout, stderr }: ProgramOutcome): readonly string[] {
  return [unrecorded('output', stdout), unrecorded('error output', stderr)].filter((note) => note !== undefined);
}

function unrecorded(what: string, stream: StreamFacts | undefined): string | undefined {
  if (stream?.recorded === undefined) return undefined;
  return `${stream.recorded} of ${stream.bytes} bytes of ${what} are recorded, of all its length and SHA-256`;
}

export function fileWords(
  operation: string | undefined,
  accesses: FileFacts['accesses'] | undefined,
): string | undefined {
  if (operation === undefined || accesses === undefined) return operation;
  const paths = accesses.map(({ access, path }) => `${access} ${path ?? '(not recorded)'}`);
  return `${operation} ${paths.join(', ')}`;
}

export function fileEndWords({
  status,
  bytesRead,
  bytesWritten,
  sha256,
  interrupted,
}: FileOutcomeFacts): readonly string[] {
  return [
    status === undefined || status <= 1 ? undefined : statusWords(status),
    bytesRead === undefined ? undefined : `${bytesRead} B read`,
    bytesWritten === undefined ? undefined : `${bytesWritten} B written`,
    interrupted === true ? 'interrupted' : undefined,
    sha256 === undefined ? undefined : `SHA-256 ${sha256}`,
  ].filter((fact) => fact !== undefined);
}

/** draft-ietf-secsh-filexfer-02, section 7. */
const STATUSES: readonly string[] = [
  'OK',
  'end of file',
  'no such file',
  'permission denied by the target',
  'failure',
  'bad message',
  'no connection',
  'connection lost',
  'not supported by the target',
];

export function statusWords(status: number): string {
  return STATUSES[status] ?? `status ${status}`;
}

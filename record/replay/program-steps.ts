import type { RecordedEvent } from '../format.ts';
import { isNumber, list, number, object, some, strings, text } from './members.ts';

/** What a session of SSH shows beside decisions: programs, what they printed, and files. */

export interface TerminalFacts {
  readonly columns: number;
  readonly rows: number;
  readonly type?: string;
}

/** A command that is no statement: how and as whom it runs. */
export interface ProgramFacts {
  readonly channel?: number;
  /** `Exec`, `Shell`, `LocalForward`, … */
  readonly operation: string;
  readonly user?: string;
  readonly argv: readonly (readonly string[])[];
  readonly paths: readonly string[];
  readonly destination?: string;
  readonly terminal?: TerminalFacts;
}

/** Undefined: the command is a statement. */
export function programFacts(event: RecordedEvent): ProgramFacts | undefined {
  const operation = text(event['operation']);
  if (operation === undefined) return undefined;
  const { columns, rows, type } = object(event['terminal']);
  const terminal = isSize(columns) && isSize(rows) ? { columns, rows, ...some({ type: text(type) }) } : undefined;
  return {
    operation,
    argv: list(event['argv']).map(strings),
    paths: strings(event['paths']),
    ...some({
      channel: number(event['channel']),
      user: text(event['user']),
      destination: text(event['destination']),
      terminal,
    }),
  };
}

/** A terminal that somebody could draw. */
const isSize = (value: unknown): value is number =>
  isNumber(value) && Number.isInteger(value) && value > 0 && value <= 10_000;

/** Standard output (or all that a terminal showed), standard error, another size of the terminal. */
export type OutputCode = 'o' | 'e' | 'r';

export interface OutputPart {
  readonly code: OutputCode;
  /** `COLUMNSxROWS` for `r`. */
  readonly data: string | { readonly base64: string };
  /** Microseconds since the part before it; of the first one, since the command began. */
  readonly sinceMicros: number;
}

/** Parts that are none are passed over. */
export function outputParts(event: RecordedEvent): readonly OutputPart[] {
  return list(event['parts']).flatMap((part): OutputPart[] => {
    const [seconds, code, data] = list(part);
    const sinceMicros = isNumber(seconds) && seconds >= 0 ? Math.round(seconds * 1e6) : 0;
    if (code !== 'o' && code !== 'e' && code !== 'r') return [];
    if (typeof data === 'string')
      return code === 'r' && !/^[1-9]\d{0,4}x[1-9]\d{0,4}$/.test(data) ? [] : [{ code, data, sinceMicros }];
    const { base64 } = object(data);
    return typeof base64 === 'string' && code !== 'r' ? [{ code, data: { base64 }, sinceMicros }] : [];
  });
}

/** One stream of a program: all of its bytes, and how many of them are recorded when not all are. */
export interface StreamFacts {
  readonly bytes: number;
  readonly recorded?: number;
  readonly sha256?: string;
}

/** How a program ended. */
export interface ProgramOutcome {
  readonly exit?: number;
  readonly signal?: string;
  readonly stdin?: StreamFacts;
  readonly stdout?: StreamFacts;
  readonly stderr?: StreamFacts;
  /** Of a forward: bytes that came from the client. */
  readonly bytesIn?: number;
}

export function programOutcome(event: RecordedEvent): ProgramOutcome {
  return some({
    exit: number(event['exit']),
    signal: text(event['signal']),
    stdin: streamFacts(event['stdin']),
    stdout: streamFacts(event['stdout']),
    stderr: streamFacts(event['stderr']),
    bytesIn: number(event['bytesIn']),
  });
}

function streamFacts(value: unknown): StreamFacts | undefined {
  const { bytes, recorded, sha256 } = object(value);
  return isNumber(bytes) ? { bytes, ...some({ recorded: number(recorded), sha256: text(sha256) }) } : undefined;
}

/** An operation on files that was asked for. */
export interface FileFacts {
  readonly operation: string;
  readonly accesses: readonly { readonly access: string; readonly path?: string }[];
  readonly detail?: string;
}

export function fileFacts(event: RecordedEvent): FileFacts {
  return {
    operation: text(event['operation']) ?? '?',
    accesses: list(event['accesses']).map((one) => {
      const { access, path } = object(one);
      return { access: text(access) ?? '?', ...some({ path: text(path) }) };
    }),
    ...some({ detail: text(event['detail']) }),
  };
}

/** What became of it. */
export interface FileOutcomeFacts {
  readonly status?: number;
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  readonly sha256?: string;
  readonly interrupted?: boolean;
}

export function fileOutcome(event: RecordedEvent): FileOutcomeFacts {
  return some({
    status: number(event['status']),
    bytesRead: number(event['bytesRead']),
    bytesWritten: number(event['bytesWritten']),
    sha256: text(event['sha256']),
    interrupted: event['interrupted'] === true ? true : undefined,
  });
}

import type { RecordedEvent } from '../format.ts';
import {
  type BodyPart,
  type BodyReader,
  createBodyReader,
  type ExchangeEnd,
  type ExchangeFacts,
  exchangeEnd,
  exchangeFacts,
  isBody,
} from './exchange-steps.ts';
import { isNumber, list, number, object, some, strings, text } from './members.ts';
import {
  type FileFacts,
  type FileOutcomeFacts,
  fileFacts,
  fileOutcome,
  type OutputPart,
  outputParts,
  type ProgramFacts,
  type ProgramOutcome,
  programFacts,
  programOutcome,
} from './program-steps.ts';
import { createResultReader, type ResultEnd, type ResultReader, type ResultRows } from './results.ts';

/** One thing that happened in a session, as it is shown again. Members that the record does not hold are absent. */
export type ReplayStep = StepTime & StepContent;

export interface StepTime {
  /** RFC 3339. */
  readonly time: string;
  /** Microseconds since the session's first event; never less than the step before. */
  readonly atMicros: number;
}

/** What was decided on a command, as recorded. `rules` are `NAMESPACE/POLICY/RULE@GENERATION`, `masks` names of MaskingRules. */
export interface DecidedText {
  readonly text?: string;
  readonly verdict?: string;
  readonly observed?: string;
  readonly rules: readonly string[];
  readonly masks: readonly string[];
}

export interface Requirement {
  readonly rule: string;
  readonly requiredApprovals?: number;
}

export interface Vote {
  readonly voter: string;
  readonly verdict?: string;
  readonly at?: string;
  readonly reason?: string;
}

/** What the target did, as recorded. `masked` counts replaced values, by rule or detector. */
export interface StepOutcome extends ProgramOutcome, ExchangeEnd {
  readonly rows?: number;
  readonly bytes?: number;
  readonly micros?: number;
  readonly masked: Readonly<Record<string, number>>;
}

export type StepContent =
  | {
      readonly kind: 'opened';
      readonly who?: string;
      readonly onBehalfOf?: string;
      readonly client?: string;
      readonly application?: string;
      readonly database?: string;
      readonly protocol?: string;
      /** Login user at the target, where the client names one. */
      readonly user?: string;
      readonly mode?: string;
    }
  | {
      readonly kind: 'authenticated';
      readonly method?: string;
      readonly expires?: string;
      readonly groups: readonly string[];
    }
  | { readonly kind: 'refused'; readonly code?: string; readonly message?: string }
  | ({ readonly kind: 'prepared' } & DecidedText)
  | ({
      readonly kind: 'command';
      readonly seq: number;
      readonly parameters: readonly Parameter[];
      /** It is a program, a shell, a forward: not a statement. */
      readonly program?: ProgramFacts;
      /** It is a request over HTTP. */
      readonly exchange?: ExchangeFacts;
    } & DecidedText)
  /** A piece of a body that was sent or answered. */
  | ({ readonly kind: 'body'; readonly seq: number } & BodyPart)
  | {
      readonly kind: 'denied';
      readonly seq: number;
      readonly code?: string;
      readonly denied?: string;
      readonly message?: string;
      readonly rules: readonly string[];
    }
  | {
      readonly kind: 'held';
      readonly seq: number;
      readonly request?: string;
      readonly requirements: readonly Requirement[];
    }
  | {
      readonly kind: 'released';
      readonly seq: number;
      readonly request?: string;
      readonly state?: string;
      readonly votes: readonly Vote[];
    }
  | ({ readonly kind: 'rows'; readonly seq: number } & ResultRows)
  | ({ readonly kind: 'result'; readonly seq: number } & { readonly result: ResultEnd })
  /** What a program showed. */
  | ({ readonly kind: 'output'; readonly seq: number; readonly terminal: boolean } & Pick<OutputPart, 'code' | 'data'>)
  | ({ readonly kind: 'file'; readonly seq: number } & FileFacts & DecidedText)
  | ({
      readonly kind: 'file-denied';
      readonly seq: number;
      readonly code?: string;
      readonly message?: string;
    } & FileFacts &
      DecidedText)
  | ({ readonly kind: 'file-closed'; readonly seq: number } & FileOutcomeFacts & Pick<StepOutcome, 'micros' | 'masked'>)
  | ({ readonly kind: 'executed'; readonly seq: number } & StepOutcome)
  | ({ readonly kind: 'failed'; readonly seq: number; readonly code?: string } & StepOutcome)
  | {
      readonly kind: 'credential';
      readonly action: string;
      readonly type?: string;
      readonly username?: string;
      readonly reference?: string;
    }
  | {
      readonly kind: 'ended';
      readonly interrupted: boolean;
      readonly reason?: string;
      readonly code?: string;
      readonly commands?: number;
      readonly denied?: number;
    }
  /** An event that this version does not know. */
  | { readonly kind: 'other'; readonly event: string };

/** A bound value: its text, or what is recorded in its place. */
export type Parameter = string | null | { readonly base64: string } | { readonly bytes: number };

export interface StepReader {
  /** Enters the session's next event. Most give one step; chunks of a result give some rows, or none yet. */
  enter(event: RecordedEvent): ReplayStep[];
}

/** Where the output of a program that runs has got to. */
interface RunningProgram {
  /** When the last part of it was shown. */
  atMicros: number;
  readonly terminal: boolean;
}

/** Programs at one time that are followed; a session has far fewer channels. */
const MOST_PROGRAMS = 4096;

/** Turns the events of one session, in order, into what is shown. Total, and bounded in memory: see results.ts. */
export function createStepReader(): StepReader {
  const results = createResultReader();
  const bodies = createBodyReader();
  const programs = new Map<number, RunningProgram>();
  let start: number | undefined;
  let last = 0;

  /** A clock may jump back; what is shown does not. */
  function forward(micros: number): number {
    last = Math.max(last, micros);
    return last;
  }

  /** Each part has a time of its own: its event was written once there were enough of them. */
  function shown(event: RecordedEvent, now: number): ReplayStep[] {
    const parts = outputParts(event);
    if (parts.length === 0) return [];
    const seq = number(event['seq']) ?? 0;
    const program = programs.get(seq) ?? { atMicros: now, terminal: false };
    return parts.map(({ code, data, sinceMicros }) => {
      program.atMicros = Math.min(now, program.atMicros + sinceMicros);
      const { time } = timeOf(event);
      return { time, atMicros: forward(program.atMicros), kind: 'output', seq, code, data, terminal: program.terminal };
    });
  }

  function follow(step: StepContent, now: number): void {
    if (step.kind === 'executed' || step.kind === 'failed' || step.kind === 'denied') programs.delete(step.seq);
    // It runs from when people let it.
    if (step.kind === 'released') {
      const program = programs.get(step.seq);
      if (program !== undefined) program.atMicros = now;
    }
    if (step.kind !== 'command' || step.program === undefined || programs.size >= MOST_PROGRAMS) return;
    programs.set(step.seq, { atMicros: now, terminal: step.program.terminal !== undefined });
  }

  return {
    enter(event) {
      const { time, micros } = timeOf(event);
      start ??= micros;
      const now = micros - start;
      const output = shown(event, now);
      const at = { time, atMicros: forward(now) };
      return [
        ...output,
        ...contents(event, results, bodies).map((content) => {
          follow(content, at.atMicros);
          return { ...at, ...content };
        }),
      ];
    },
  };
}

function timeOf(event: RecordedEvent): { readonly time: string; readonly micros: number } {
  const time = event.e === 'session.interrupted' ? (text(event['lastEvent']) ?? event.t) : event.t;
  return { time, micros: microsOf(time) };
}

/** Microseconds since 1970 of an RFC 3339 time; 0 for what is none. */
function microsOf(time: string): number {
  const milliseconds = Date.parse(time);
  if (Number.isNaN(milliseconds)) return 0;
  const fraction = /\.\d{3}(\d{3})/.exec(time)?.[1] ?? '0';
  return milliseconds * 1000 + Number(fraction);
}

function contents(event: RecordedEvent, results: ResultReader, bodies: BodyReader): StepContent[] {
  const seq = number(event['seq']) ?? 0;
  switch (event.e) {
    case 'session.start':
      return [opened(event)];
    case 'session.authenticated':
      return [
        {
          kind: 'authenticated',
          groups: strings(event['groups']),
          ...some({ method: text(event['method']), expires: text(event['expires']) }),
        },
      ];
    case 'session.refused':
      return [
        opened(event),
        { kind: 'refused', ...some({ code: text(event['code']), message: text(event['message']) }) },
      ];
    case 'session.end':
    case 'session.interrupted':
      return [ended(event)];
    case 'statement.parsed':
      return [{ kind: 'prepared', ...decided(event) }];
    case 'command.received': {
      const exchange = exchangeFacts(event);
      const program = exchange === undefined ? programFacts(event) : undefined;
      return [
        {
          kind: 'command',
          seq,
          parameters: parametersOf(event['parameters']),
          ...some({ program, exchange }),
          ...decided(event),
        },
      ];
    }
    case 'output.chunk':
      return [];
    case 'file.operation':
      return [{ kind: 'file', seq, ...fileFacts(event), ...decided(event) }];
    case 'file.denied':
      return [
        {
          kind: 'file-denied',
          seq,
          ...fileFacts(event),
          ...decided(event),
          ...some({ code: text(event['code']), message: text(event['message']) }),
        },
      ];
    case 'file.closed': {
      const { masked, micros } = outcome(event);
      return [{ kind: 'file-closed', seq, masked, ...some({ micros }), ...fileOutcome(event) }];
    }
    case 'command.denied':
      return [
        {
          kind: 'denied',
          seq,
          rules: strings(event['rules']),
          ...some({ code: text(event['code']), denied: text(event['denied']), message: text(event['message']) }),
        },
      ];
    case 'command.held':
      return [
        {
          kind: 'held',
          seq,
          requirements: list(event['requirements']).map(requirement),
          ...some({ request: text(event['request']) }),
        },
      ];
    case 'command.released':
      return [
        {
          kind: 'released',
          seq,
          votes: list(event['votes']).map(vote),
          ...some({ request: text(event['request']), state: text(event['state']) }),
        },
      ];
    case 'command.executed':
      return [...shortResult(seq, event, results, bodies), { kind: 'executed', seq, ...outcome(event) }];
    case 'command.failed': {
      const code = text(event['sqlstate']) ?? text(event['code']);
      return [
        ...shortResult(seq, event, results, bodies),
        { kind: 'failed', seq, ...some({ code }), ...outcome(event) },
      ];
    }
    case 'request.chunk':
      return [{ kind: 'body', seq, ...bodies.enter(seq, 'request', event) }];
    case 'result.chunk':
      return resultSteps(seq, event, results, bodies);
    case 'credential.issued':
    case 'credential.used':
    case 'credential.revoked': {
      const { type, username, reference } = event;
      const known = { type: text(type), username: text(username), reference: text(reference) };
      return [{ kind: 'credential', action: event.e.slice('credential.'.length), ...some(known) }];
    }
    default:
      return [{ kind: 'other', event: event.e }];
  }
}

function resultSteps(
  seq: number,
  part: Readonly<Record<string, unknown>>,
  results: ResultReader,
  bodies: BodyReader,
): StepContent[] {
  if (isBody(part)) return [{ kind: 'body', seq, ...bodies.enter(seq, 'result', part) }];
  const { rows, end } = results.enter(part);
  const steps: StepContent[] = rows.map((batch) => ({ kind: 'rows', seq, ...batch }));
  return end === undefined ? steps : [...steps, { kind: 'result', seq, result: end }];
}

/** A short result goes with the outcome of its command, and so does what was sent with it. */
function shortResult(seq: number, event: RecordedEvent, results: ResultReader, bodies: BodyReader): StepContent[] {
  const { request, result } = event;
  const sent: StepContent[] =
    request === undefined || typeof request === 'string'
      ? []
      : [{ kind: 'body', seq, ...bodies.enter(seq, 'request', object(request)) }];
  return result === undefined ? sent : [...sent, ...resultSteps(seq, object(result), results, bodies)];
}

function opened(event: RecordedEvent): StepContent {
  const who = object(event['who']);
  return {
    kind: 'opened',
    ...some({
      who: text(who['username']) ?? text(event['claimedUser']),
      onBehalfOf: text(who['onBehalfOf']),
      client: text(event['client']),
      application: text(event['application']),
      database: text(event['database']),
      protocol: text(event['protocol']),
      user: text(event['user']),
      mode: text(event['mode']),
    }),
  };
}

function ended(event: RecordedEvent): StepContent {
  const { reason, code, commands, denied } = event;
  return {
    kind: 'ended',
    interrupted: event.e === 'session.interrupted',
    ...some({ reason: text(reason), code: text(code), commands: number(commands), denied: number(denied) }),
  };
}

function decided(event: RecordedEvent): DecidedText {
  const { verdict, observed, rules, masks } = event;
  return {
    rules: strings(rules),
    masks: strings(masks),
    ...some({ text: text(event['text']), verdict: text(verdict), observed: text(observed) }),
  };
}

function outcome(event: RecordedEvent): StepOutcome {
  const { rows, bytes, us } = event;
  const masked = Object.entries(object(event['masked'])).filter((entry): entry is [string, number] =>
    isNumber(entry[1]),
  );
  return {
    masked: Object.fromEntries(masked),
    ...some({ rows: number(rows), bytes: number(bytes), micros: number(us) }),
    ...programOutcome(event),
    ...exchangeEnd(event),
  };
}

function parametersOf(value: unknown): readonly Parameter[] {
  return list(value).map((one): Parameter => {
    if (one === null || typeof one === 'string') return one;
    const { base64, bytes } = object(one);
    if (typeof base64 === 'string') return { base64 };
    return isNumber(bytes) ? { bytes } : '?';
  });
}

function requirement(value: unknown): Requirement {
  const { rule, requiredApprovals } = object(value);
  return { rule: text(rule) ?? '?', ...some({ requiredApprovals: number(requiredApprovals) }) };
}

function vote(value: unknown): Vote {
  const { voter, user, verdict, at, reason } = object(value);
  return {
    voter: text(voter) ?? text(user) ?? '?',
    ...some({ verdict: text(verdict), at: text(at), reason: text(reason) }),
  };
}

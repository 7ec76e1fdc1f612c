/**
 * Every error of the record, in one table. An agent reads `message` and `hint`, so neither names a path where a lane may pass
 * them on; `path` is there for logs.
 */
const TABLE = {
  SPR001: {
    message: 'the record of {object} cannot be written ({detail}), so no command is run',
    hint: 'Try again later. The operator of the gateway frees or repairs the disk of its state folder.',
  },
  SPR002: {
    message: 'the record of {object} cannot be opened ({detail}), so no session is served',
    hint: 'Try again later. The operator of the gateway makes its state folder writable and frees space there.',
  },
  SPR003: {
    message: 'the record of {object} could not be made durable ({detail}), so the command was not run',
    hint: 'Try again later. The operator of the gateway checks the disk of its state folder.',
  },
  SPR004: {
    message: 'the record of {object} was removed while it was written, so the command was not run',
    hint: 'Try again. The operator of the gateway finds out who removed files of its state folder.',
  },
  SPR005: { message: 'the record of {object} is closed: the gateway is stopping', hint: 'Connect again.' },
  SPR006: {
    message: 'no record can be kept for the connection {object} ({detail})',
    hint: 'Use a namespace and a name that Kubernetes accepts for an AccessConnection.',
  },
  SPR007: {
    message: 'the segment {path} of the record cannot be repaired ({detail})',
    hint: 'Make it writable for the gateway, or move it away.',
  },
  SPR008: {
    message: 'there is no record in {path} ({detail})',
    hint: 'Give the state folder of the gateway with --state.',
  },
  SPR009: {
    message: 'no session {object} is in the record',
    hint: '`sallyport sessions list` shows those that are.',
  },
  SPR010: {
    message: 'an event of {object} found no room while the record could not be written, so its command was not run',
    hint: 'Send it again: the record can be written now.',
  },
  SPR020: {
    message: 'the key that signs the record cannot be used: {path} ({detail})',
    hint: 'Give it back to its owner with mode 0600, or make a new one: sallyport record key --rotate.',
  },
  SPR021: {
    message: '{object} is no public key of a record ({detail})',
    hint: 'Give what `sallyport record key` prints, or a file of it.',
  },
} as const satisfies Record<`SPR${number}`, { readonly message: string; readonly hint: string }>;

export type RecorderErrorCode = keyof typeof TABLE;

export interface RecorderErrorFacts {
  /** `NAMESPACE/NAME` of the connection, or the session id. */
  readonly object?: string;
  /** Default: the system's code of `cause`. */
  readonly detail?: string;
  readonly path?: string;
  readonly cause?: unknown;
}

export class RecorderError extends Error {
  override readonly name = 'RecorderError';
  readonly code: RecorderErrorCode;
  readonly hint: string;
  /** The file or folder that it is about: for logs. */
  readonly path: string | undefined;

  constructor(code: RecorderErrorCode, facts: RecorderErrorFacts = {}) {
    const { message, hint } = TABLE[code];
    const words = message
      .replace('{object}', () => facts.object ?? 'the connection')
      .replace('{detail}', () => facts.detail ?? describeCause(facts.cause))
      .replace('{path}', () => facts.path ?? 'the state folder');
    super(words, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = code;
    this.hint = hint;
    this.path = facts.path;
  }
}

/** The system's code where there is one, such as `ENOSPC`: its message would name paths. */
export function describeCause(cause: unknown): string {
  if (cause instanceof Error) return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
  return 'unknown cause';
}

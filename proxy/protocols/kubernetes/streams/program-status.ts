/** The end of a command, as the error channel tells it (remotecommand v4 and later): a `metav1.Status`. */
export interface ProgramStatus {
  /** Exit status, where the program had one. */
  readonly exit: number | undefined;
  /** Why it did not come to that: reason and message of the Status. */
  readonly reason: string;
  readonly message: string;
}

/** Undefined: it is not whole yet, or nothing that can be read. */
export function readStatus(bytes: Buffer): ProgramStatus | undefined {
  const status = objectOf(bytes.toString('utf8'));
  if (status === undefined) return undefined;
  const { status: outcome, reason, message, details } = status;
  const told = {
    reason: typeof reason === 'string' ? reason : '',
    message: typeof message === 'string' ? message : '',
  };
  if (outcome === 'Success') return { exit: 0, ...told };
  return { exit: told.reason === 'NonZeroExitCode' ? exitOf(details) : undefined, ...told };
}

/** With another message: the rest stays as it is. */
export function withMessage(bytes: Buffer, message: string): Buffer {
  return Buffer.from(JSON.stringify({ ...objectOf(bytes.toString('utf8')), message }));
}

function exitOf(details: unknown): number | undefined {
  const causes = (details as { readonly causes?: unknown } | null | undefined)?.causes;
  if (!Array.isArray(causes)) return undefined;
  for (const cause of causes as readonly ({ readonly reason?: unknown; readonly message?: unknown } | null)[]) {
    if (cause?.reason === 'ExitCode' && typeof cause.message === 'string' && /^\d{1,3}$/.test(cause.message))
      return Number(cause.message);
  }
  return undefined;
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Errors of sending to others over HTTP: one table. None carries a secret, a body or what the other side answered. */
export const DELIVERY_ERRORS = {
  SPD001: { message: '{} cannot be reached: {}', hint: 'It is tried again by itself; see that the receiver is up.' },
  SPD002: { message: '{} did not answer within {} ms', hint: 'It is tried again by itself.' },
  SPD003: {
    message: '{} answered with status {}',
    hint: 'It is tried again by itself; the log of the receiver says what it did not like.',
  },
  SPD004: { message: '{} is neither https nor on this machine', hint: 'Write https://.' },
  SPD005: {
    message: 'the secret in {} cannot be used: {}',
    hint: 'Write one whsec_ and base64 of 24 to 64 bytes on each line, the newest first.',
  },
  SPD006: { message: 'the file {} cannot be read: {}', hint: 'Check the path and its permissions.' },
  SPD008: { message: 'the queue in {} cannot be written: {}', hint: 'Free space on the disk of the state folder.' },
  SPD009: {
    message: 'the message {} was given up after {} attempts',
    hint: 'The log of the receiver says why it refused it.',
  },
} as const;

export type DeliveryErrorCode = keyof typeof DELIVERY_ERRORS;

export class DeliveryError extends Error {
  override readonly name = 'DeliveryError';
  readonly code: DeliveryErrorCode;
  readonly hint: string;

  constructor(code: DeliveryErrorCode, fill: readonly (string | number)[], cause?: unknown) {
    let next = 0;
    const message = DELIVERY_ERRORS[code].message.replace(/\{\}/g, () => String(fill[next++] ?? ''));
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = DELIVERY_ERRORS[code].hint;
  }
}

/** The system's or TLS's own code, else the kind of error: messages may name more than a log should hold. */
export function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown cause';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

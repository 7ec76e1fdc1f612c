/** Every error of masking. A mask error always ends the session: what could not be masked must not be sent. */

const MESSAGES = {
  SPM001: (where: string) =>
    `The server sent a ${where} message whose lengths do not add up; nothing of it was passed on. Check that the target is PostgreSQL and that nothing between it and the gateway changes the stream.`,
  SPM002: (counts: string) =>
    `The server sent a row with a number of columns that was not announced (${counts}); nothing of it was passed on. Run the statement again in a new session.`,
  SPM003: (rule: string) =>
    `No key is at hand for the tokens of ${rule}; without it values cannot be masked. Check that the Secret named in keySecretRef exists and holds the key.`,
  SPM004: (rule: string) =>
    `The pattern of ${rule} is not a valid RE2 regular expression, or too large. Correct spec.content[].pattern of the MaskingRule.`,
  SPM005: (limit: string) =>
    `A COPY row is larger than ${limit}, the most that can be searched for protected content. Leave large columns out of the COPY.`,
  SPM006: (what: string) => `COPY in binary format cannot be masked (${what}); use the text or CSV format.`,
  SPM007: (match: string) =>
    `The field path ${match} of a MaskingRule cannot be read. Write keys, * and ** joined by dots, such as items.*.ssn.`,
  SPM008: (what: string) =>
    `The command printed bytes that are no text (${what}), and a MaskingRule says that these are not shown; it was ended there. Have it print text, or ask for a rule with binaryOutput: Search.`,
} as const;

export type MaskErrorCode = keyof typeof MESSAGES;

/** Codes are stable and documented in docs/masking.md. The message never holds a value that was to be masked. */
export class MaskError extends Error {
  readonly code: MaskErrorCode;

  constructor(code: MaskErrorCode, subject: string) {
    super(MESSAGES[code](subject));
    this.name = 'MaskError';
    this.code = code;
  }
}

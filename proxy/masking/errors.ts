/** Every error of masking. What could not be masked is not sent: the session ends, of HTTP the answer. */

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
  SPM009: (what: string) =>
    `The answer is said to be JSON and is not (${what}), and MaskingRules apply to it; nothing more of it was passed on. Check that the target answers in valid JSON and UTF-8.`,
  SPM010: (what: string) =>
    `The answer cannot be looked into (${what}), and MaskingRules apply to it. Ask for JSON or text, or ask for a rule with binaryOutput: Search or Pass.`,
  SPM011: (what: string) =>
    `The answer is compressed in a way that cannot be undone here (${what}), and MaskingRules apply to it. Have the target send it as it is.`,
  SPM012: (where: string) =>
    `The request holds a value that came from masking (${where}); writing it back would replace the real one. Leave the field out, or change other fields with a patch.`,
  SPM013: (where: string) =>
    `The patch copies, moves or tests a value that MaskingRules protect, or renames what it is masked by (${where}). Patch other fields, or write the value itself.`,
  SPM014: (what: string) =>
    `The answer holds something larger than can be masked (${what}); nothing more of it was passed on. Ask for less at once.`,
  SPM015: (where: string) =>
    `The selector asks for a value that MaskingRules protect (${where}): whoever may ask may guess. Select by other fields.`,
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

/** Statements that set a password, and their literals: neither the record nor an approver gets to see those. */
const SECRET = /\bpassword\b/i;
const LITERAL = /(?:\bE|\bU&)?'(?:[^'\\]|''|\\.)*'|\$([A-Za-z_]\w*)?\$[\s\S]*?\$\1\$/g;

/** Whether any literal of the text may be a password. */
export const holdsSecret = (text: string): boolean => SECRET.test(text);

/** The text as it may be recorded: in statements that set a password, every literal is replaced. */
export function withoutSecrets(text: string): string {
  return holdsSecret(text) ? text.replace(LITERAL, "'[redacted]'") : text;
}

/**
 * Texts in the record are the agent's own: shown on a terminal as they are, they could move the cursor, set the title, or turn
 * the direction of writing, and so show something else than what ran. Control characters, invisible ones and those that change
 * direction are written as escapes.
 */
const UNSAFE = new RegExp(
  String.raw`[\u0000-\u001f\u007f-\u009f]` +
    // soft hyphen, fillers, joiners, marks and overrides of direction, separators, invisible operators, byte order mark
    String.raw`|[\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff]` +
    String.raw`|[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]`,
  'g',
);

/** One line that is safe on a terminal: `\n` for a line feed, `\u202e` for a right-to-left override. */
export function neutralise(text: string): string {
  return text.replaceAll(UNSAFE, (found) => {
    switch (found) {
      case '\n':
        return '\\n';
      case '\r':
        return '\\r';
      case '\t':
        return '\\t';
      default:
        return escapeUnsafe(found);
    }
  });
}

/** JSON in one line in which nothing acts on a terminal: the same value for whoever parses it. */
export function safeJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(UNSAFE, escapeUnsafe);
}

function escapeUnsafe(found: string): string {
  const code = found.codePointAt(0) ?? 0;
  // Tag characters (U+E0000 and on) are invisible; the other characters outside the basic plane are ordinary.
  if (code > 0xffff && (code < 0xe0000 || code > 0xe0fff)) return found;
  let escaped = '';
  for (let index = 0; index < found.length; index++) {
    escaped += `\\u${found.charCodeAt(index).toString(16).padStart(4, '0')}`;
  }
  return escaped;
}

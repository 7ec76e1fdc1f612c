/**
 * Text that every shell leaves alone between quotes and that people see as it is: printable characters, tabs and line ends. No
 * control, format (bidirectional, zero width), private, unassigned characters or halves of surrogate pairs, and no space but U+0020.
 */
export function isQuotedText(text: string): boolean {
  return /^(?:[ -~\t\n]|[\p{L}\p{M}\p{N}\p{P}\p{S}])*$/u.test(text);
}

import { stringify } from 'yaml';
import { neutralise, safeJson } from '../record/display.ts';

/** Forms in which an answer is printed. */
export const OUTPUTS = ['text', 'json', 'yaml'] as const;
export type Output = (typeof OUTPUTS)[number];

const neutralLines = (text: string): string => text.split('\n').map(neutralise).join('\n');

/**
 * An object for a program, safe on a terminal: JSON on one line, or a document of YAML that begins with `---`, so that several in a row are
 * a stream.
 */
export function objectText(object: object, output: Exclude<Output, 'text'>): string {
  if (output === 'json') return `${safeJson(object)}\n`;
  const plain = stringify(object, { lineWidth: 0 });
  if (neutralLines(plain) === plain) return `---\n${plain}`;
  // Between double quotes an escape means the character itself (YAML 1.2, 5.7): the same value for whoever parses it.
  const quoted = {
    lineWidth: 0,
    blockQuote: false,
    defaultStringType: 'QUOTE_DOUBLE',
    defaultKeyType: 'PLAIN',
  } as const;
  return `---\n${neutralLines(stringify(object, quoted))}`;
}

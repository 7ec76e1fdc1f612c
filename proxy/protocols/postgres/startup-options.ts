import { StartupError, shown } from './startup-errors.ts';

export type Settings = ReadonlyMap<string, string>;

/** Splits at white space; a backslash takes the next character as it is (pg_split_opts of the server). */
function words(text: string): string[] {
  const result: string[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && isSpace(text[at])) at++;
    if (at >= text.length) return result;
    let word = '';
    while (at < text.length && !isSpace(text[at])) {
      if (text[at] === '\\') {
        at++;
        if (at >= text.length) break;
      }
      word += text[at] ?? '';
      at++;
    }
    result.push(word);
  }
}

function isSpace(character: string | undefined): boolean {
  return character !== undefined && ' \t\n\v\f\r'.includes(character);
}

/**
 * The settings in `options` (PGOPTIONS): `-c name=value`, `-cname=value` and `--name=value`. The server's other switches are for
 * starting it, and refused. Names with dashes mean underscores, as in the server (ParseLongOption).
 * @throws StartupError SPG105
 */
export function splitOptions(options: string): [name: string, value: string][] {
  const settings: [string, string][] = [];
  const list = words(options);
  for (let at = 0; at < list.length; at++) {
    const word = list[at] ?? '';
    let assignment: string;
    if (word === '-c') {
      at++;
      assignment = list[at] ?? '';
    } else if (word.startsWith('-c')) assignment = word.slice(2);
    else if (word.startsWith('--')) assignment = word.slice(2);
    else throw new StartupError('SPG105', `options: ${shown(word)}`);
    const equals = assignment.indexOf('=');
    if (word === '--' || equals <= 0)
      throw new StartupError('SPG105', `options: ${shown(assignment === '' ? word : assignment)}`);
    settings.push([assignment.slice(0, equals).replaceAll('-', '_'), assignment.slice(equals + 1)]);
  }
  return settings;
}

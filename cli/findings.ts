import type { Finding } from '../api/load.ts';

/** `file:line:column: severity: message`, and below it what to write instead. */
export function findingText({ file, line, column, severity, code, message, fix }: Finding): string {
  const head = `${file}:${line}:${column}: ${severity}: ${message} [${code}]\n`;
  return fix === undefined ? head : `${head}    ${fix}\n`;
}

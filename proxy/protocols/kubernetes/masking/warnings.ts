/**
 * Warnings of an API server (RFC 9111, section 5.5 as it was: code, agent, text). Admission webhooks and policies write what they like in
 * them, values of the object among it. Where values are masked only those pass that are made of names of the API.
 */
const OF_NAMES: readonly RegExp[] = [
  /^[-a-z0-9./]+ [A-Za-z]+ is deprecated in v[\d.]+\+(, unavailable in v[\d.]+\+)?(; use [-A-Za-z0-9./ ]+)?$/,
  /^(unknown|duplicate) field "[-\w.[\]/]+"$/,
  /^would violate PodSecurity "[-a-z0-9.:]+": /,
  /^Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens[.]$/,
];

const WITHHELD = 'a warning is withheld, since masking rules apply to these objects';

/** @param value of one `Warning` field */
export function shownWarning(value: string): string {
  const [, text = ''] = /^\d{3} \S+ "((?:[^"\\]|\\.)*)"/s.exec(value) ?? [];
  const plain = text.replaceAll(/\\(.)/gs, '$1');
  return OF_NAMES.some((known) => known.test(plain)) ? value : `299 - "${WITHHELD}"`;
}

/**
 * Field selectors as the API server parses them: k8s.io/apimachinery/pkg/fields/selector.go.
 */

/** `field=value` or `field==value`; what is `!=` requires nothing exactly. */
export interface ExactTerm {
  readonly field: string;
  readonly value: string;
}

/** Terms are divided by commas; a comma after a backslash is part of its term. */
function splitTerms(selector: string): string[] {
  const terms: string[] = [];
  let start = 0;
  let escaped = false;
  for (let index = 0; index < selector.length; index++) {
    const character = selector[index];
    if (escaped) escaped = false;
    else if (character === '\\') escaped = true;
    else if (character === ',') {
      terms.push(selector.slice(start, index));
      start = index + 1;
    }
  }
  terms.push(selector.slice(start));
  return terms;
}

/** Undefined: an escape that there is none of, or a `,` or `=` without one. */
function unescapeValue(value: string): string | undefined {
  return /^(?:[^\\,=]|\\[\\,=])*$/s.test(value) ? value.replace(/\\([\\,=])/g, '$1') : undefined;
}

/** The terms that ask for one exact value, in the order in which the API server looks at them. Undefined: it refuses the selector. */
function exactTerms(selector: string): readonly ExactTerm[] | undefined {
  const exact: ExactTerm[] = [];
  // It sorts them by their bytes before it parses them.
  const terms = splitTerms(selector).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const term of terms) {
    if (term === '') continue;
    const split = /^([^=]*?)(!=|==|=)(.*)$/s.exec(term);
    if (split === null) return undefined;
    const [, field = '', operator, rest = ''] = split;
    const value = unescapeValue(rest);
    if (value === undefined) return undefined;
    if (operator !== '!=') exact.push({ field, value });
  }
  return exact;
}

/** Every field that a selector compares, however. */
export function selectedFields(selector: string): readonly string[] {
  return splitTerms(selector)
    .map((term) => /^[^=!]*/.exec(term)?.[0] ?? '')
    .filter((field) => field !== '');
}

/** Every label that a selector of labels is about. */
export function selectedLabels(selector: string): readonly string[] {
  return selector
    .split(/,(?![^(]*\))/)
    .map((requirement) => /^[\s!]*([^\s!=<>]*)/.exec(requirement)?.[1] ?? '')
    .filter((key) => key !== '');
}

/** The name that `metadata.name=NAME` asks for; undefined when the selector asks for none, null when the API server refuses it. */
export function selectedName(selector: string): string | undefined | null {
  const terms = exactTerms(selector);
  if (terms === undefined) return null;
  const name = terms.find(({ field }) => field === 'metadata.name')?.value;
  // Names that cannot be a segment of a path count as none: k8s.io/apimachinery/pkg/api/validation/path.
  return name === undefined || name === '.' || name === '..' || /[/%]/.test(name) ? undefined : name;
}

const KEY = '[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?';
const VALUE = '([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?';
const LABEL_REQUIREMENT = new RegExp(
  `^\\s*(!?\\s*${KEY}|${KEY}\\s*(=|==|!=)\\s*${VALUE}|${KEY}\\s+(in|notin)\\s*\\(\\s*${VALUE}\\s*(,\\s*${VALUE}\\s*)*\\)|${KEY}\\s*[<>]\\s*-?[0-9]+)\\s*$`,
);

/**
 * Whether a label selector is one that the API server understands for certain. Where it does not, it forgets the field selector too, and
 * with it the name.
 */
export function isPlainLabelSelector(selector: string): boolean {
  if (selector === '') return true;
  return selector.split(/,(?![^(]*\))/).every((requirement) => LABEL_REQUIREMENT.test(requirement));
}

import { createHash } from 'node:crypto';
import { tupleWords } from '../../../../policy/words.ts';
import type { ContentDetectors } from '../../../masking/detectors.ts';
import type { EffectPreview, Presentation } from '../../../ports.ts';
import type { Verdict } from '../judge.ts';
import { holdsSecret, withoutSecrets } from '../sql/secrets.ts';
import { shapeKey } from '../sql/shape.ts';
import { type Token, tokensOf } from '../sql/tokens.ts';
import type { Analysis, ProtectedColumn } from '../sql/types.ts';
import { readValue, writtenValue } from './bound-values.ts';
import { displayText, summaryText } from './display.ts';

/** Most bytes of `display`: a command that cannot be shown whole is refused, for nobody approves unseen. */
export const MOST_SHOWN = 65_536;
const SUMMARY = 120;
const HIDDEN = '***';
const REDACTED = '[redacted]';

/** What is to be shown: one text with its bound values. */
export interface Shown {
  readonly text: string;
  readonly analysis: Analysis;
  readonly parameters: readonly (Uint8Array | null)[];
  /** 0 text, 1 binary, one for each parameter. */
  readonly formats: readonly (0 | 1)[];
  /** OIDs as far as they are known; 0 or absent: not known. */
  readonly types: readonly number[];
}

type Redactions = Set<string>;

/** PREPARE keeps the findings on what it holds in its effect; positions are those of the same text. */
function protectedIn(analysis: Analysis): {
  literals: (readonly [number | undefined, ProtectedColumn])[];
  parameters: Map<number, ProtectedColumn>;
} {
  const literals: (readonly [number | undefined, ProtectedColumn])[] = [];
  const parameters = new Map<number, ProtectedColumn>();
  const collect = ({ statements }: Analysis): void => {
    for (const { protectedLiterals, protectedParameters, effects } of statements) {
      for (const { at, column } of protectedLiterals) literals.push([at, column]);
      for (const { number, column } of protectedParameters) parameters.set(number, column);
      for (const effect of effects) if (effect.type === 'prepare') collect(effect.inner);
    }
  };
  collect(analysis);
  return { literals, parameters };
}

const isValue = (token: Token): boolean => token.type === 'string' || token.type === 'number';
const isWordValue = (token: Token): boolean => /^(?:true|false|null)$/i.test(token.text);

/** Tokens that stand for protected values. A position at which none stands hides all values: better too much than one too few. */
function hiddenTokens(
  tokens: readonly Token[],
  literals: readonly (readonly [number | undefined, ProtectedColumn])[],
): Map<Token, readonly string[]> {
  const hidden = new Map<Token, readonly string[]>();
  for (const [at, column] of literals) {
    const index = tokens.findIndex(({ start }) => start === at);
    const first = tokens[index];
    // The sign of a negative constant is a token of its own.
    const token = first?.text === '-' || first?.text === '+' ? tokens[index + 1] : first;
    if (token !== undefined && (isValue(token) || isWordValue(token))) {
      hidden.set(token, column.mask.rules);
      continue;
    }
    for (const value of tokens) if (isValue(value)) hidden.set(value, column.mask.rules);
  }
  return hidden;
}

function contentHidden(value: string, content: ContentDetectors | undefined, redactions: Redactions): string {
  const shown = content?.maskText(value, (name) => redactions.add(name));
  return shown ?? value;
}

/** The text as it will run, with its values in their places. */
function displayOf(shown: Shown, content: ContentDetectors | undefined, redactions: Redactions): string {
  const { text, analysis, parameters, formats, types } = shown;
  const tokens = tokensOf(text);
  const secret = holdsSecret(text);
  if (secret) redactions.add('password');
  // What the scanner refuses does not parse either; where something is masked that was denied before it came here.
  if (tokens === undefined) return contentHidden(withoutSecrets(text), content, redactions);
  const found = protectedIn(analysis);
  const hidden = hiddenTokens(tokens, found.literals);
  const used = new Set<number>();
  const parameter = (number: number): string => {
    used.add(number);
    const value = parameters[number - 1];
    if (value === undefined) return `$${number}`;
    const column = found.parameters.get(number);
    if (column !== undefined) {
      for (const rule of column.mask.rules) redactions.add(rule);
      return `'${HIDDEN}'`;
    }
    if (value === null) return 'NULL';
    if (secret) return `'${REDACTED}'`;
    const read = readValue(value, formats[number - 1] ?? 0, types[number - 1] ?? 0);
    return writtenValue(
      read.text === undefined ? read : { ...read, text: contentHidden(read.text, content, redactions) },
    );
  };
  const body = displayText(text, tokens, (token) => {
    const rules = hidden.get(token);
    if (rules !== undefined) {
      for (const rule of rules) redactions.add(rule);
      return `'${HIDDEN}'`;
    }
    if (token.type === 'parameter') return parameter(Number(token.text.slice(1)));
    if (secret && token.type === 'string') return `'${REDACTED}'`;
    if (token.type === 'string' || token.type === 'comment' || token.type === 'number')
      return contentHidden(token.text, content, redactions);
    return undefined;
  });
  // A function call has its arguments, and a statement may have values that it does not use.
  const rest = parameters.map((_, index) => index + 1).filter((number) => !used.has(number));
  const unused = rest.map((number) => `\n-- $${number} = ${parameter(number).replaceAll('\n', ' ')}`);
  return body + unused.join('');
}

/** Access in words, each once, without what needs no rule. */
function effectsOf(verdict: Verdict): string[] {
  const words = verdict.decision.tuples
    .filter(({ because }) => because !== 'harmless')
    .map(({ tuple }) => {
      const text = tupleWords(tuple);
      return text.charAt(0).toUpperCase() + text.slice(1);
    });
  return [...new Set(words)];
}

/**
 * What an approver reads, all but the preview.
 * @param named statements that the command runs by name, each as `EXECUTE` names it
 */
export function present(
  shown: Shown,
  verdict: Verdict,
  named: ReadonlyMap<string, Shown>,
  content: ContentDetectors | undefined,
): Omit<Presentation, 'preview'> {
  const redactions: Redactions = new Set();
  let display = displayOf(shown, content, redactions);
  for (const [name, statement] of named) {
    const comment = `\n\n-- "${name.replaceAll('\n', ' ')}" was prepared as\n`;
    display += comment + displayOf(statement, content, redactions);
  }
  const tokens = tokensOf(shown.text);
  const effects = effectsOf(verdict);
  const summary = tokens === undefined ? effects.join(', ').slice(0, SUMMARY) : summaryText(tokens, SUMMARY);
  return { summary, display, redactions: [...redactions].sort(), effects };
}

/**
 * The command without its values, for `reuseFor`; undefined where values decide what it does, or where they cannot be told from the
 * rest with certainty: an approval then covers these values only.
 */
export function fingerprintOf(text: string, verdict: Verdict): string | undefined {
  if (!verdict.analysis.shapeStable || verdict.decision.reuse !== 'shape' || verdict.hasEffects) return undefined;
  const bytes = Buffer.from(text, 'utf8');
  const shape = shapeKey(bytes, 0, bytes.length);
  if (shape === undefined) return undefined;
  return `sha256:${createHash('sha256').update(shape, 'latin1').digest('hex')}`;
}

export const NO_PREVIEW = (why: string): EffectPreview => ({ cascades: [], unavailable: why });

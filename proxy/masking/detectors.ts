import { isAscii } from 'node:buffer';
import type { RE2JS as Pattern } from 're2js';
import { RE2JS } from 're2js';
import type { ContentMask, Detector } from '../../policy/masking.ts';
import { findEmails, findIpAddresses } from './detect/addresses.ts';
import type { Find, FindWithin } from './detect/bytes.ts';
import {
  findAwsKeys,
  findBearerTokens,
  findGitHubTokens,
  findJwts,
  findPrivateKeys,
  findUrlPasswords,
} from './detect/credentials.ts';
import { eachDigitRun } from './detect/digit-runs.ts';
import { findCardNumbers, findIbans, findPhoneNumbers, findSocialSecurityNumbers } from './detect/numbers.ts';
import { MaskError } from './errors.ts';
import { applyEdits, editsOf, type Finding, joinFindings, type ReadyMask, stricterMask } from './findings.ts';
import type { CountMask, TokenKeys } from './port.ts';
import { compileTransform, tokenKeyFor, wholeReplacement } from './transforms.ts';

/**
 * Values recognised by what they look like. Each detector is a scanner of its own over the bytes, linear in their number; one pass
 * over a value first says which detectors could find anything in it, which for most values is none.
 */
export interface ContentDetectors {
  /**
   * Searches UTF-8 (or any ASCII-compatible) text and replaces what it finds.
   * @returns undefined when nothing was found; null when the whole value becomes NULL; otherwise the bytes to show instead
   */
  mask(source: Buffer, start: number, end: number, count: CountMask): Buffer | null | undefined;
  /** As `mask`, on a string that cannot be NULL, such as a notification's payload: NULL becomes the empty string. */
  maskText(text: string, count?: CountMask): string | undefined;
  /** What stands in place of a value that cannot be searched (too large, not well-formed): the strictest of the masks. */
  withhold(count: CountMask): Buffer | null;
  /**
   * What is found in source[start, end), in no order and with overlaps, for those who replace it themselves; 'withhold' as in `withhold`.
   */
  find(source: Buffer, start: number, end: number): Finding[] | 'withhold';
  readonly has: (detector: Detector) => boolean;
  /** True when users' own patterns are among the masks: they may match any digits or letters. */
  readonly hasPatterns: boolean;
  /** Those patterns. */
  readonly patterns: readonly Pattern[];
}

/** Beyond this many bytes a value is withheld rather than searched: searching is done on the event loop. */
export const SEARCH_LIMIT = 16 * 1024 * 1024;
/** The same where users' patterns are searched for, which takes some twenty times as long. */
const PATTERN_SEARCH_LIMIT = 1024 * 1024;
/**
 * Each search for a next match may look at all that is left, so many matches of some patterns cost the square of the length. A value
 * is withheld once its searches could have looked at this many bytes.
 */
const PATTERN_BUDGET = 32 * 1024 * 1024;
/** Longest users' pattern, in characters, as in the CRD; and the largest program that RE2 may make of it. */
const PATTERN_LENGTH = 512;
const PATTERN_PROGRAM = 20_000;

/** Up to this length a first pass says which detectors could find anything. */
const LONGEST_HINTED = 1024;
/** Hints of the first pass: which bytes occur. */
const DIGIT = 1;
const LETTER = 2;
const AT = 4;
const COLON = 8;
const DOT = 16;
const HYPHEN = 32;
const UNDERSCORE = 64;
const SLASH = 128;

const HINTS = new Uint8Array(256);
for (let byte = 0x30; byte <= 0x39; byte++) HINTS[byte] = DIGIT;
for (let byte = 0x41; byte <= 0x5a; byte++) HINTS[byte] = HINTS[byte | 0x20] = LETTER;
HINTS[0x40] = AT;
HINTS[0x3a] = COLON;
HINTS[0x2e] = DOT;
HINTS[0x2d] = HYPHEN;
HINTS[0x5f] = UNDERSCORE;
HINTS[0x2f] = SLASH;

interface BuiltIn {
  /** One of the two. */
  readonly find?: Find;
  /** Numbers, which stand in one run of digits each. */
  readonly inDigits?: FindWithin;
  /** Shortest value that could hold one. */
  readonly least: number;
  /** All of these bytes occur wherever one is found. */
  readonly hints: number;
  /** At least one of these bytes does; absent: none has to. */
  readonly anyOf?: number;
  /** Digits that occur at least. */
  readonly digits: number;
}

const BUILT_IN: Readonly<Record<Detector, BuiltIn>> = {
  CreditCard: { inDigits: findCardNumbers, least: 13, hints: DIGIT, digits: 13 },
  IBAN: { find: findIbans, least: 15, hints: DIGIT | LETTER, digits: 4 },
  Email: { find: findEmails, least: 6, hints: AT | DOT, digits: 0 },
  PhoneNumber: { inDigits: findPhoneNumbers, least: 9, hints: DIGIT, digits: 8 },
  USSocialSecurityNumber: { inDigits: findSocialSecurityNumbers, least: 11, hints: DIGIT, digits: 9 },
  IPAddress: { find: findIpAddresses, least: 3, hints: 0, anyOf: COLON | DOT, digits: 0 },
  JWT: { find: findJwts, least: 20, hints: LETTER | DOT, digits: 0 },
  PrivateKey: { find: findPrivateKeys, least: 20, hints: LETTER | HYPHEN, digits: 0 },
  AWSAccessKey: { find: findAwsKeys, least: 20, hints: LETTER, digits: 0 },
  GitHubToken: { find: findGitHubTokens, least: 26, hints: LETTER | UNDERSCORE, digits: 0 },
  BearerToken: { find: findBearerTokens, least: 23, hints: LETTER, digits: 0 },
  PasswordInURL: { find: findUrlPasswords, least: 8, hints: COLON | SLASH, digits: 0 },
};

interface CompiledMask extends ReadyMask {
  readonly builtIn: BuiltIn | undefined;
  readonly pattern: Pattern | undefined;
  /** What every match of the pattern begins with, where there is such a text. */
  readonly prefix: Buffer | undefined;
}

function compilePattern(pattern: string, rule: string): Pattern {
  if (pattern.length > PATTERN_LENGTH) throw new MaskError('SPM004', rule);
  let compiled: Pattern;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (error) {
    throw Object.assign(new MaskError('SPM004', rule), { cause: error });
  }
  if (compiled.programSize() > PATTERN_PROGRAM) throw new MaskError('SPM004', rule);
  return compiled;
}

/**
 * The literal that RE2 itself has found every match to begin with. ASCII only: such bytes stand in no other character of UTF-8.
 */
function prefixOf(pattern: Pattern): Buffer | undefined {
  const prefix: unknown = pattern.re2Input.prefix;
  if (typeof prefix !== 'string' || prefix === '') return undefined;
  const bytes = Buffer.from(prefix);
  return isAscii(bytes) ? bytes : undefined;
}

function compileMask(mask: ContentMask, keys: TokenKeys): CompiledMask {
  const apply = compileTransform(mask.transform, tokenKeyFor(mask.transform, keys, mask.rule), mask.rule);
  const { transform } = mask;
  if ('detector' in mask.source) {
    const name = mask.source.detector;
    return { name, transform, apply, builtIn: BUILT_IN[name], pattern: undefined, prefix: undefined };
  }
  const pattern = compilePattern(mask.source.pattern, mask.rule);
  return { name: mask.rule, transform, apply, builtIn: undefined, pattern, prefix: prefixOf(pattern) };
}

/** What all detectors of numbers find, in one walk over the runs of digits. */
function findNumbers(
  source: Buffer,
  start: number,
  end: number,
  masks: readonly CompiledMask[],
  fewest: number,
  hits: Finding[],
): void {
  eachDigitRun(source, start, end, fewest, (first, last, digits) => {
    for (const mask of masks) {
      const { inDigits, digits: needed } = mask.builtIn!;
      if (digits >= needed) inDigits?.(source, start, end, (from, to) => hits.push({ from, to, mask }), first, last);
    }
  });
}

const uncounted: CountMask = () => {};

/**
 * @param keys looked up once, here
 * @returns undefined when there is nothing to look for
 * @throws MaskError SPM003 a key is missing, SPM004 a pattern is not RE2
 */
export function createContentDetectors(masks: readonly ContentMask[], keys: TokenKeys): ContentDetectors | undefined {
  if (masks.length === 0) return undefined;
  const compiled = masks.map((mask) => compileMask(mask, keys));
  const builtIns = compiled.filter((mask) => mask.builtIn !== undefined);
  const patterns = compiled.filter((mask) => mask.pattern !== undefined);
  const names = new Set(builtIns.map((mask) => mask.name));
  const strictest = compiled.reduce(stricterMask);
  const withheld = wholeReplacement(strictest.transform);
  const limit = patterns.length > 0 ? PATTERN_SEARCH_LIMIT : SEARCH_LIMIT;
  const least = patterns.length > 0 ? 0 : Math.min(...builtIns.map((mask) => mask.builtIn!.least));

  /** By what occurs, the detectors that could find anything. */
  const byHints = Array.from({ length: 256 }, (_, hints) =>
    builtIns.filter(({ builtIn }) => {
      const { hints: needed, anyOf = 0 } = builtIn!;
      return (hints & needed) === needed && (anyOf === 0 || (hints & anyOf) !== 0);
    }),
  );

  const findPatterns = (source: Buffer, start: number, end: number, hits: Finding[]): boolean => {
    // The pattern engine works on a whole array; positions it gives are bytes of it.
    const view = source.subarray(start, end);
    let budget = PATTERN_BUDGET;
    for (const mask of patterns) {
      const { prefix } = mask;
      // No match begins before the first place of what all of them begin with: the engine need not walk there.
      let next = prefix === undefined ? 0 : view.indexOf(prefix);
      if (next < 0 || !mask.pattern!.test(next === 0 ? view : view.subarray(next))) continue;
      const matcher = mask.pattern!.matcher(view);
      let from = 0;
      while (prefix === undefined ? matcher.find() : matcher.find(next)) {
        const at = matcher.start();
        const to = matcher.end();
        // An empty match names no value.
        if (to > at) hits.push({ from: start + at, to: start + to, mask });
        budget -= view.length - from;
        from = to;
        if (budget < 0) return false;
        if (prefix === undefined) continue;
        next = view.indexOf(prefix, to);
        if (next < 0) break;
      }
    }
    return true;
  };

  const findBuiltIns = (source: Buffer, start: number, end: number, hits: Finding[]): void => {
    const length = end - start;
    // A long text has a little of everything.
    let hints = 0xff;
    let digits = length;
    if (length <= LONGEST_HINTED) {
      hints = digits = 0;
      for (let at = start; at < end; at++) {
        const hint = HINTS[source[at]!]!;
        hints |= hint;
        digits += hint & DIGIT;
      }
    }
    const candidates = byHints[hints]!;
    let fewestDigits = Number.POSITIVE_INFINITY;
    for (let which = 0; which < candidates.length; which++) {
      const mask = candidates[which]!;
      const { find, least, digits: fewest } = mask.builtIn!;
      if (length < least || digits < fewest) continue;
      if (find === undefined) fewestDigits = Math.min(fewestDigits, fewest);
      else find(source, start, end, (from, to) => hits.push({ from, to, mask }));
    }
    if (digits >= fewestDigits) findNumbers(source, start, end, candidates, fewestDigits, hits);
  };

  /** Undefined: nothing found. */
  const search = (source: Buffer, start: number, end: number): Finding[] | 'withhold' | undefined => {
    const hits: Finding[] = [];
    findBuiltIns(source, start, end, hits);
    if (patterns.length > 0 && !findPatterns(source, start, end, hits)) return 'withhold';
    return hits.length === 0 ? undefined : hits;
  };

  const withhold = (count: CountMask): Buffer | null => {
    count(strictest.name);
    return withheld;
  };

  const mask = (source: Buffer, start: number, end: number, count: CountMask): Buffer | null | undefined => {
    if (end - start < least) return undefined;
    if (end - start > limit) return withhold(count);
    const found = search(source, start, end);
    if (found === 'withhold') return withhold(count);
    if (found === undefined) return undefined;
    const edits = editsOf(source, joinFindings(found), count);
    return edits === null ? null : applyEdits(source, start, end, edits);
  };

  return {
    mask,
    withhold,
    find(source, start, end) {
      if (end - start < least) return [];
      if (end - start > limit) return 'withhold';
      return search(source, start, end) ?? [];
    },
    maskText(text, count = uncounted) {
      const bytes = Buffer.from(text, 'utf8');
      const shown = mask(bytes, 0, bytes.length, count);
      return shown === undefined ? undefined : (shown?.toString('utf8') ?? '');
    },
    has: (detector) => names.has(detector),
    hasPatterns: patterns.length > 0,
    patterns: patterns.map(({ pattern }) => pattern!),
  };
}

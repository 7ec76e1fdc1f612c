import { TRANSFORM_STRICTNESS } from '../../../../policy/masking.ts';
import { MaskError } from '../../../masking/errors.ts';
import { isMembers, type ObjectPlace } from './object-place.ts';

/** An object, and the masks of its places. */
interface Masked {
  readonly value: unknown;
  readonly place: ObjectPlace | undefined;
}

/** Shorter values stand in other places by chance. */
const SHORTEST_MOVED = 8;
/** Of a place without a mask: less than any. */
const SHOWN = Number.NEGATIVE_INFINITY;

/** Calls back for every scalar, also of documents in strings. */
function eachScalar(
  { value, place }: Masked,
  at: string,
  visit: (text: string, at: string, strictness: number) => void,
): void {
  if (place?.inner !== undefined) {
    eachScalar(place.inner, `${at}/`, visit);
    return;
  }
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    visit(String(value), at, place?.mask === undefined ? SHOWN : TRANSFORM_STRICTNESS[place.mask.transform.type]);
    return;
  }
  if (!Array.isArray(value) && !isMembers(value)) return;
  for (const [key, one] of Object.entries(value)) {
    eachScalar({ value: one, place: place?.mask === undefined ? place?.step(key) : place }, `${at}/${key}`, visit);
  }
}

/**
 * Whether a change shows more of a value that was masked: at its own place, because what it was masked by is gone (the name of a pair, the
 * kind of an object), or at another one. What stood somewhere for everybody to see is shown already.
 * @param said what the client wrote: it knows that, and a refusal would only tell it that it guessed right
 */
export function revealedAt(before: Masked, after: Masked, said: unknown): MaskError | undefined {
  const shown = new Set<string>();
  eachScalar({ value: said, place: undefined }, '', (text) => void shown.add(text));
  const hidden = new Map<string, number>();
  const places = new Map<string, { readonly text: string; readonly strictness: number }>();
  eachScalar(before, '', (text, at, strictness) => {
    if (strictness === SHOWN) {
      shown.add(text);
      return;
    }
    places.set(at, { text, strictness });
    if (text.length >= SHORTEST_MOVED) hidden.set(text, Math.max(strictness, hidden.get(text) ?? SHOWN));
  });
  let found = false;
  eachScalar(after, '', (text, at, strictness) => {
    const was = places.get(at);
    if (text === '' || (was?.text === text && strictness >= was.strictness)) return;
    found ||= was?.text === text || (strictness < (hidden.get(text) ?? SHOWN) && !shown.has(text));
  });
  return found ? new MaskError('SPM013', 'it would show a value that is masked now') : undefined;
}

import { MaskError } from '../errors.ts';
import type { CountMask } from '../port.ts';
import { wholeReplacement } from '../transforms.ts';
import { type DocumentMasks, rewriteDocument } from './documents.ts';
import type { BodyTransform } from './port.ts';
import { maskOneText } from './text-lines.ts';

/**
 * Masks application/x-www-form-urlencoded (URL Standard, section 5): names are keys of a flat document, values its texts. The form is put
 * together whole; where something is masked all of it is encoded anew.
 */
export function createFormRewriter(masks: DocumentMasks, limit: number, count: CountMask): BodyTransform {
  const parts: Buffer[] = [];
  let length = 0;

  function shownValue(name: string, value: string): string {
    const place = masks.root?.step(name);
    if (place?.mask !== undefined) {
      for (const rule of place.mask.rules) count(rule);
      const bytes = Buffer.from(value, 'utf8');
      const shown = place.mask.apply(bytes, 0, bytes.length) ?? wholeReplacement(place.mask.transform);
      return shown?.toString('utf8') ?? '';
    }
    const bytes = Buffer.from(value, 'utf8');
    const inner = rewriteDocument(place === undefined ? masks : { ...masks, root: place }, bytes, count);
    const shown = inner === 'no document' ? maskOneText(masks, bytes, count) : inner;
    return shown?.toString('utf8') ?? value;
  }

  return {
    write(chunk) {
      parts.push(Buffer.from(chunk));
      length += chunk.length;
      if (length > limit) throw new MaskError('SPM014', `a form of more than ${limit} bytes`);
      return undefined;
    },
    end() {
      const source = Buffer.concat(parts);
      const form = new URLSearchParams(source.toString('utf8'));
      let changed = false;
      const shown = new URLSearchParams();
      for (const [name, value] of form) {
        const key = maskOneText(masks, Buffer.from(name, 'utf8'), count)?.toString('utf8') ?? name;
        const text = shownValue(name, value);
        changed ||= key !== name || text !== value;
        shown.append(key, text);
      }
      return changed ? Buffer.from(shown.toString(), 'latin1') : source;
    },
  };
}

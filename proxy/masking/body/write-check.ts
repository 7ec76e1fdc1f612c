import type { MaskPlan } from '../../../policy/masking.ts';
import type { ContentDetectors } from '../detectors.ts';
import { MaskError } from '../errors.ts';
import { createFieldMasks, type PathMask, type PathNode } from '../fields.ts';
import type { TokenKeys } from '../port.ts';
import { BODY_LIMITS } from './body-masks.ts';
import { createDocumentRewriter } from './documents.ts';
import { contentMarks, createTokenScan, holdsToken, isMark } from './marks.ts';
import { bodyKind, parseMediaType } from './media-type.ts';
import type { JsonPlace, PlaceMask } from './place.ts';
import type { BodyTransform, WriteCheck } from './port.ts';

const NOTHING = Buffer.alloc(0);

function written(where: string): MaskError {
  return new MaskError('SPM012', where);
}

/**
 * Looks for what came from masking in requests. A document is read as masking reads it: behind escapes, in strings that hold documents.
 * @throws MaskError SPM003, SPM004, SPM007: a rule that cannot be followed
 */
export function createWriteCheck(plan: MaskPlan, keys: TokenKeys): WriteCheck {
  const marks = contentMarks(plan.content);
  const root = watched(createFieldMasks(plan.fields, keys)?.root);
  const active = plan.fields.length + plan.content.length + plan.kubernetes.length > 0;

  /** In the place of detectors: every string comes by. */
  const looking: ContentDetectors = {
    mask(source, start, end) {
      const text = source.toString('utf8', start, end);
      if (holdsToken(text)) throw written('a mask token');
      if (marks.has(text)) throw written('a text that stands for a value');
      return undefined;
    },
    maskText: () => undefined,
    withhold: () => NOTHING,
    find: () => [],
    has: () => false,
    hasPatterns: false,
    patterns: [],
  };

  function documents(): BodyTransform {
    const limits = { ...BODY_LIMITS, whole: 0 };
    const rewriter = createDocumentRewriter({ root, content: looking, limits }, () => {});
    let invalid = false;
    // What is no JSON is the target's to refuse; as text it is searched all the same.
    const run = (step: () => Buffer | undefined): undefined => {
      if (invalid) return;
      try {
        step();
      } catch (error) {
        if (!(error instanceof MaskError) || error.code === 'SPM012') throw error;
        invalid = true;
      }
    };
    return { write: (chunk) => run(() => rewriter.write(chunk)), end: () => run(() => rewriter.end()) };
  }

  function form(): BodyTransform {
    const parts: Buffer[] = [];
    let length = 0;
    return {
      write(chunk) {
        length += chunk.length;
        if (length <= BODY_LIMITS.event) parts.push(Buffer.from(chunk));
        return undefined;
      },
      end() {
        for (const [name, value] of new URLSearchParams(Buffer.concat(parts).toString('utf8'))) {
          if (holdsToken(name) || holdsToken(value)) throw written('a mask token');
          const mask = root?.step(name)?.mask;
          mask?.apply(Buffer.from(value, 'utf8'), 0, Buffer.byteLength(value));
        }
        return undefined;
      },
    };
  }

  function stream(contentType: string | undefined): BodyTransform {
    if (!active) return { write: (chunk) => chunk, end: () => undefined };
    const scan = createTokenScan();
    const kind = bodyKind(parseMediaType(contentType));
    const reader = kind === 'json' || kind === 'unknown' ? documents() : kind === 'form' ? form() : undefined;
    return {
      write(chunk) {
        if (scan(chunk)) throw written('a mask token');
        reader?.write(chunk);
        return chunk;
      },
      end() {
        reader?.end();
        return undefined;
      },
    };
  }

  return {
    stream,
    whole(body, contentType) {
      try {
        const check = stream(contentType);
        check.write(body);
        check.end();
        return undefined;
      } catch (error) {
        if (error instanceof MaskError) return error;
        throw error;
      }
    },
    text(text) {
      if (!active) return undefined;
      const decoded = text.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      );
      return holdsToken(text) || holdsToken(decoded) ? written('a mask token') : undefined;
    },
  };
}

/** The same places, where a mask throws when what it is given came from it. Each is made once. */
function watched(root: PathNode | undefined): JsonPlace | undefined {
  const made = new WeakMap<PathNode, JsonPlace>();
  const of = (node: PathNode | undefined): JsonPlace | undefined => {
    if (node === undefined) return undefined;
    const known = made.get(node);
    if (known !== undefined) return known;
    const place: JsonPlace = {
      mask: node.mask === undefined ? undefined : watchedMask(node.mask),
      step: (key) => of(node.step(key)),
    };
    made.set(node, place);
    return place;
  };
  return of(root);
}

function watchedMask(mask: PathMask): PlaceMask {
  return {
    ...mask,
    leaves: true,
    apply(source, start, end) {
      const text = source.toString('utf8', start, end);
      if (isMark(mask.transform, text) || holdsToken(text)) throw written('a field that is masked');
      return NOTHING;
    },
  };
}

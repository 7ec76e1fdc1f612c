import type { Presentation } from '../../ports.ts';
import { effectsOf, type Verdict } from './admission/verdict.ts';
import { describeRequest } from './describe.ts';
import type { Understanding } from './meaning/port.ts';

/** What an approver reads of a request. */

const SUMMARY = 120;

export interface PresentedRequest {
  readonly query: readonly (readonly [name: string, value: string])[];
  /** Method and URL as they go to the API server. */
  readonly text: string;
  readonly contentType: string | undefined;
  /** As the client sent it. */
  readonly body: Buffer | undefined;
  /** Secrets and tokens: their contents are nobody's to read. */
  readonly withoutBody: boolean;
  /** Masks text, and says by which rule. */
  hidden(text: string, count: (name: string) => void): string;
  /** What would change, from the dry run; empty: it is not known. */
  readonly difference: string;
}

export function present(verdict: Verdict, { info, command }: Understanding, request: PresentedRequest): Presentation {
  const redactions = new Set<string>();
  const hidden = (text: string): string => request.hidden(text, (name) => redactions.add(name));
  const words = hidden(describeRequest(info, { query: request.query, contentType: request.contentType, command }));
  if (request.withoutBody && request.body !== undefined) redactions.add('contents of Secrets and tokens');
  const parts = [
    words,
    hidden(request.text),
    request.difference === '' ? '' : `\nWhat would change:\n${request.difference}`,
    bodyText(request, hidden),
  ];
  return {
    summary: [...words].slice(0, SUMMARY).join(''),
    display: parts.filter((part) => part !== '').join('\n'),
    redactions: [...redactions].sort(),
    effects: effectsOf(verdict, hidden),
    preview: {
      cascades: [],
      ...(request.difference === '' ? { unavailable: 'the API server was not asked what would change' } : {}),
    },
  };
}

function bodyText({ body, contentType, withoutBody }: PresentedRequest, hidden: (text: string) => string): string {
  if (body === undefined || body.length === 0) return '';
  const title = `\nBody (${contentType ?? 'of no type'}, ${body.length} bytes)`;
  if (withoutBody) return `${title}: not shown`;
  const text = body.toString('utf8');
  // Such as protobuf: what it means stands above, and the approval is bound to these bytes all the same.
  if (!Buffer.from(text, 'utf8').equals(body) || text.includes('\0'))
    return `${title}, base64:\n${body.toString('base64')}`;
  return `${title}:\n${hidden(indented(text))}`;
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

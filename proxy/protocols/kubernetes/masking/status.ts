import { isMembers, masked, type ObjectPlace } from './object-place.ts';

/**
 * An error of the API server (metav1.Status). What it says may quote values of objects: a field that is invalid, the difference of a pod that
 * must not change, what a webhook thinks of it. Where values are masked, only texts that are made of names alone are shown.
 */

/** Reasons whose texts the API server makes of kinds and names. */
const OF_NAMES = new Set([
  'Unauthorized',
  'NotFound',
  'AlreadyExists',
  'Conflict',
  'Gone',
  'Expired',
  'ServerTimeout',
  'Timeout',
  'TooManyRequests',
  'MethodNotAllowed',
  'NotAcceptable',
  'UnsupportedMediaType',
  'ServiceUnavailable',
]);

/** The authorizer's own words (k8s.io/apiserver, responsewriters.forbiddenMessage). */
const NOT_AUTHORIZED =
  /^(?:[-a-z0-9./]{1,300}(?: "[^"]{0,300}")? is )?forbidden: User "[^"]{0,300}" cannot [a-z*]{1,40} (resource|path) "[^"]{0,300}"/;
const WEBHOOK = /^admission webhook "[-.a-z0-9]{1,253}" denied the request/;

const WITHHELD = 'withheld, since masking rules apply to these objects';

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function literal(shown: string): ObjectPlace {
  const bytes = Buffer.from(shown, 'utf8');
  return masked({ transform: { type: 'redact', with: shown }, apply: () => bytes, rules: [] });
}

/** Undefined: it is shown as it is, as far as detectors find nothing. */
function shownMessage(status: Readonly<Record<string, unknown>>): string | undefined {
  const message = text(status['message']);
  const reason = text(status['reason']);
  if (message === '' || text(status['status']) === 'Success') return undefined;
  if (OF_NAMES.has(reason) && !WEBHOOK.test(message) && !message.includes('Invalid value')) return undefined;
  if (reason === 'Forbidden' && NOT_AUTHORIZED.test(message)) return undefined;
  const webhook = WEBHOOK.exec(message)?.[0];
  if (webhook !== undefined) return `${webhook} (why is ${WITHHELD})`;
  const details = isMembers(status['details']) ? status['details'] : {};
  const causes = Array.isArray(details['causes']) ? details['causes'] : [];
  const fields = causes
    .map((cause: unknown) => (isMembers(cause) ? text(cause['field']) : ''))
    .filter((field) => field !== '');
  const object = [text(details['kind']), text(details['name'])].filter((part) => part !== '').join(' ');
  const what = [reason === '' ? 'error' : reason, object, fields.slice(0, 20).join(', ')].filter((part) => part !== '');
  return `${what.join(': ')} (the text is ${WITHHELD})`;
}

export function statusPlace(status: Readonly<Record<string, unknown>>): ObjectPlace {
  const message = shownMessage(status);
  const causes: ObjectPlace = {
    mask: undefined,
    step: () => ({ mask: undefined, step: (key) => (key === 'message' ? literal(WITHHELD) : undefined) }),
  };
  const details: ObjectPlace = { mask: undefined, step: (key) => (key === 'causes' ? causes : undefined) };
  return {
    mask: undefined,
    step(key) {
      if (key === 'message') return message === undefined ? undefined : literal(message);
      return key === 'details' ? details : undefined;
    },
  };
}

import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { BodyMasks } from '../../masking/body/port.ts';
import { filterFields, withField, withoutFields } from './core/headers.ts';
import type { HeaderFields, RequestHead } from './core/port.ts';
import type { SignIn } from './credentials/sign-in.ts';

/**
 * The fields of a request as they go to the target, but for the credential: without the target's cookies where these are ours to keep,
 * without anything that some servers would take for the credential's field (`x_api_key`), and such that the answer comes whole and
 * readable where somebody has to look for secrets in it.
 */
export function requestFields(
  head: RequestHead,
  { credential, http }: CompiledConnection,
  signIn: SignIn,
  masks: BodyMasks,
  /** Its answer is looked into, whatever else. */
  spoken: boolean,
): HeaderFields {
  let fields = head.headers;
  if (http.cookies === 'Remove') fields = withoutFields(fields, COOKIES);
  const { field, concealer } = signIn;
  const own = field?.name ?? credential.httpHeader?.name.toLowerCase();
  if (own !== undefined)
    fields = filterFields(fields, (name) => name !== own && (!name.includes('_') || name.replaceAll('_', '-') !== own));
  if (concealer !== undefined || spoken) {
    // A part of a secret cannot be known; nor can one that is compressed, in an answer or in the frames of a WebSocket.
    fields = withoutFields(fields, PARTIAL);
    fields = withField(fields, 'accept-encoding', 'identity');
  }
  return masks.empty ? fields : masks.request(fields);
}

const COOKIES: ReadonlySet<string> = new Set(['cookie']);
const PARTIAL: ReadonlySet<string> = new Set([
  'a-im',
  'if-range',
  'range',
  'sec-websocket-extensions',
  'want-content-digest',
  'want-repr-digest',
]);

/** With what the target knows Sallyport by. */
export const signedFields = (fields: HeaderFields, { field }: SignIn): HeaderFields =>
  field === undefined ? fields : [...fields, field.name, field.value];

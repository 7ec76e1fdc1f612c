import { ApiError } from '../../api/errors.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { StoredHttpCredential } from '../ports.ts';
import type { StoredValues } from './stored.ts';

/**
 * Shortest secret that is used, in bytes: a shorter one stands by chance in any answer, so that it could not be told from the rest and
 * taken out.
 */
const SHORTEST_SECRET = 6;

/** What may stand in a field value (RFC 9110, section 5.5), without the spaces around it that a server would drop. */
const FIELD_VALUE = /^[!-~\u0080-\u00ff](?:[\t -~\u0080-\u00ff]*[!-~\u0080-\u00ff])?$/;
/** `token68` of RFC 9110, section 11.2: how bearer tokens are written. */
const BEARER = /^[A-Za-z0-9._~+/-]+=*$/;

const trimmed = (value: Buffer): string => value.toString('utf8').replace(/\r?\n$/, '');

/**
 * What an HTTP connection sends, as docs/http.md has it: `secretRef` is a bearer token (`token`) or basic authentication (`username`,
 * `password`), and a client certificate (`tls.crt`, `tls.key`) besides or alone.
 * @throws ApiError SPA007, SPA008, SPA018, SPA022; none tells anything of a value
 */
export async function storedHttp(
  connection: CompiledConnection,
  value: StoredValues['value'],
): Promise<StoredHttpCredential | undefined> {
  const { namespace, credential } = connection;
  const read = (name: string, ...keys: readonly string[]): Promise<(string | undefined)[]> =>
    Promise.all(
      keys.map(async (key) => {
        const found = await value('Secret', namespace, name, key);
        return found === undefined ? undefined : trimmed(found);
      }),
    );
  const { secretRef, httpHeader, oauthClientCredentials } = credential;
  if (httpHeader !== undefined) {
    const { name, key } = httpHeader.secretRef;
    const label = `${namespace}/${name}`;
    const [secret] = await read(name, key);
    if (secret === undefined) throw new ApiError('SPA007', [label, key]);
    checkSecret(label, key, secret, FIELD_VALUE);
    return { header: { name: httpHeader.name.toLowerCase(), value: secret, secrets: partsOf(secret), type: 'header' } };
  }
  if (oauthClientCredentials !== undefined) {
    const { name } = oauthClientCredentials.secretRef;
    const label = `${namespace}/${name}`;
    const [id, secret, certificate, key] = await read(name, 'client-id', 'client-secret', 'tls.crt', 'tls.key');
    if (id === undefined) throw new ApiError('SPA007', [label, 'client-id']);
    if (secret === undefined) throw new ApiError('SPA007', [label, 'client-secret']);
    checkLength(label, 'client-secret', secret);
    return {
      oauthClient: { id, secret, certificateAuthorities: await authorities(connection, value) },
      ...certificateOf(label, certificate, key),
    };
  }
  if (secretRef === undefined) {
    if (Object.keys(credential).length === 0) return undefined;
    throw new ApiError('SPA018', [`${namespace}/${connection.name}`]);
  }
  const label = `${namespace}/${secretRef.name}`;
  const [token, username, password, certificate, key] = await read(
    secretRef.name,
    ...['token', 'username', 'password', 'tls.crt', 'tls.key'],
  );
  const pair = certificateOf(label, certificate, key);
  if (token !== undefined) {
    checkSecret(label, 'token', token, BEARER);
    return { header: { name: 'authorization', value: `Bearer ${token}`, secrets: [token], type: 'bearer' }, ...pair };
  }
  if (username !== undefined || password !== undefined) return { header: basic(label, username, password), ...pair };
  if (pair.clientCertificate !== undefined) return pair;
  throw new ApiError('SPA007', [label, 'token']);
}

/** RFC 7617: UTF-8, since that is what servers of today take. */
function basic(
  label: string,
  username: string | undefined,
  password: string | undefined,
): NonNullable<StoredHttpCredential['header']> {
  if (username === undefined) throw new ApiError('SPA007', [label, 'username']);
  if (password === undefined) throw new ApiError('SPA007', [label, 'password']);
  if (username.includes(':')) throw new ApiError('SPA022', [label, 'username', 'it has a colon, which ends the name']);
  checkLength(label, 'password', password);
  const pair = Buffer.from(`${username}:${password}`, 'utf8').toString('base64');
  return { name: 'authorization', value: `Basic ${pair}`, secrets: [pair, password], type: 'basic', username };
}

/** The value itself, and what follows a scheme in it, such as that of `ApiKey abc`. */
function partsOf(value: string): readonly string[] {
  const behind = /^[A-Za-z][A-Za-z0-9-]*[ =](.+)$/.exec(value)?.[1]?.trim();
  return behind === undefined || Buffer.byteLength(behind) < SHORTEST_SECRET ? [value] : [value, behind];
}

function certificateOf(
  label: string,
  certificate: string | undefined,
  key: string | undefined,
): Pick<StoredHttpCredential, 'clientCertificate'> {
  if (certificate === undefined && key === undefined) return {};
  if (certificate === undefined) throw new ApiError('SPA007', [label, 'tls.crt']);
  if (key === undefined) throw new ApiError('SPA007', [label, 'tls.key']);
  return { clientCertificate: { certificate, key } };
}

async function authorities(
  { namespace, credential }: CompiledConnection,
  value: StoredValues['value'],
): Promise<string | undefined> {
  const reference = credential.oauthClientCredentials?.caRef;
  if (reference === undefined) return undefined;
  const { kind, name, key } = reference;
  const found = await value(kind, namespace, name, key);
  if (found === undefined) throw new ApiError(kind === 'Secret' ? 'SPA007' : 'SPA009', [`${namespace}/${name}`, key]);
  return found.toString('utf8');
}

function checkSecret(label: string, key: string, secret: string, shape: RegExp): void {
  if (!shape.test(secret)) throw new ApiError('SPA022', [label, key, 'it is not one value of a header field']);
  checkLength(label, key, secret);
}

function checkLength(label: string, key: string, secret: string): void {
  if (Buffer.byteLength(secret) < SHORTEST_SECRET)
    throw new ApiError('SPA022', [label, key, `it is shorter than ${SHORTEST_SECRET} bytes`]);
}

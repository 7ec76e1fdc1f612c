import { StartupError, shown } from './startup-errors.ts';
import { type Settings, splitOptions } from './startup-options.ts';

/**
 * A client's first packets, from bytes to values: no I/O, no state. PostgreSQL manual, sections "Message Flow", "Message Formats"
 * and "SSL Session Encryption". A packet is an Int32 length that counts itself, an Int32 code, and a body.
 */

export const MIN_PACKET = 8;
/** As in the server (MAX_STARTUP_PACKET_LENGTH). */
export const MAX_PACKET = 10_000;
/** First byte of a TLS record of type handshake: a client that starts with TLS directly (PostgreSQL 17). */
export const TLS_HANDSHAKE_BYTE = 0x16;

const CANCEL_REQUEST = 0x04d2_162e;
const SSL_REQUEST = 0x04d2_162f;
const GSSENC_REQUEST = 0x04d2_1630;
const PROTOCOL_MAJOR = 3;
/** The newest minor version that is spoken here. */
export const PROTOCOL_MINOR = 2;

export type StartupPacket =
  | { readonly type: 'SSLRequest' }
  | { readonly type: 'GSSENCRequest' }
  /** `secret` has 4 bytes in protocol 3.0, and 4 to 256 in 3.2. */
  | { readonly type: 'CancelRequest'; readonly processId: number; readonly secret: Buffer }
  | StartupMessage;

export interface StartupMessage {
  readonly type: 'StartupMessage';
  /** As asked for; may be newer than ours. */
  readonly minor: number;
  /** In the order sent; a name that was sent twice has its last value, as in the server. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Names that begin with `_pq_.`: protocol options, of which none is known here. */
  readonly protocolOptions: readonly string[];
}

export interface FirstPacket {
  readonly packet: StartupPacket;
  /** Bytes that the packet took; what follows it is the next packet, or an error behind a request for encryption. */
  readonly length: number;
}

/**
 * Reads the packet at the start of `bytes`.
 * @returns undefined when it is not there whole yet; the length is checked as soon as its four bytes are there
 * @throws StartupError SPG101, SPG102, SPG104
 */
export function readStartupPacket(bytes: Buffer): FirstPacket | undefined {
  if (bytes.length < 4) return undefined;
  const length = bytes.readInt32BE(0);
  if (length < MIN_PACKET || length > MAX_PACKET) throw new StartupError('SPG101', length);
  if (bytes.length < length) return undefined;
  const code = bytes.readInt32BE(4);
  const body = bytes.subarray(8, length);
  switch (code) {
    case SSL_REQUEST:
      if (body.length !== 0) throw new StartupError('SPG101', length);
      return { packet: { type: 'SSLRequest' }, length };
    case GSSENC_REQUEST:
      if (body.length !== 0) throw new StartupError('SPG101', length);
      return { packet: { type: 'GSSENCRequest' }, length };
    case CANCEL_REQUEST:
      // Process id, then a secret that has 4 bytes in protocol 3.0 and up to 256 in 3.2.
      if (body.length < 8 || body.length > 260) throw new StartupError('SPG101', length);
      return {
        packet: { type: 'CancelRequest', processId: body.readInt32BE(0), secret: Buffer.from(body.subarray(4)) },
        length,
      };
    default:
      return { packet: startupMessage(code >>> 16, code & 0xffff, body), length };
  }
}

function startupMessage(major: number, minor: number, body: Buffer): StartupMessage {
  if (major !== PROTOCOL_MAJOR) throw new StartupError('SPG102', `${major}.${minor}`);
  const parameters = new Map<string, string>();
  const protocolOptions: string[] = [];
  let at = 0;
  const next = (): string => {
    const end = body.indexOf(0, at);
    if (end < 0) throw new StartupError('SPG104', 'a string without its terminating NUL');
    const text = body.subarray(at, end);
    const decoded = text.toString('utf8');
    // Bytes that are not UTF-8 would be replaced, and then two different names would look the same to policy.
    if (Buffer.byteLength(decoded) !== text.length || decoded.includes('\ufffd')) {
      throw new StartupError('SPG104', 'text that is not UTF-8');
    }
    at = end + 1;
    return decoded;
  };
  for (;;) {
    if (at >= body.length) throw new StartupError('SPG104', 'the terminating NUL is missing');
    const name = next();
    if (name === '') break;
    if (at >= body.length) throw new StartupError('SPG104', `no value for ${shown(name)}`);
    const value = next();
    if (name.startsWith('_pq_.')) protocolOptions.push(name);
    else parameters.set(name, value);
  }
  if (at !== body.length) throw new StartupError('SPG104', 'bytes after the terminating NUL');
  return { type: 'StartupMessage', minor, parameters, protocolOptions };
}

/** What a start-up asks for, once it is known to be allowed. */
export interface StartupRequest {
  /** Free text: decides nothing. */
  readonly user: string;
  /** Picks the connection, together with the address that was dialled. */
  readonly database: string;
  readonly applicationName: string;
  /** Settings for the session, without `application_name`; to be judged by the rules of SET. Names are in lower case. */
  readonly settings: Settings;
  /** How the client wants to present its token, when it says so (`options=-csallyport.auth=oauthbearer`). */
  readonly authentication?: 'password' | 'oauthbearer';
}

/**
 * Settings that a client may give in its StartupMessage: what drivers send, and nothing that changes how names, roles, text or
 * errors are understood here. `client_encoding` and `standard_conforming_strings` are held to their pinned value, and nobody may
 * switch a read-only session off.
 */
const ALLOWED_SETTINGS = new Set([
  'application_name',
  'client_encoding',
  'client_min_messages',
  'bytea_output',
  'datestyle',
  'default_transaction_deferrable',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'extra_float_digits',
  'geqo',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'intervalstyle',
  'jit',
  'lc_messages',
  'lc_monetary',
  'lc_numeric',
  'lc_time',
  'lock_timeout',
  'search_path',
  'standard_conforming_strings',
  'statement_timeout',
  'timezone',
  'transaction_timeout',
  'work_mem',
  'xmlbinary',
  'xmloption',
]);
/**
 * psql on a terminal in the C locale asks for SQL_ASCII, which means bytes as they are: UTF8 serves it, and is what the session
 * reports back.
 */
const UTF8_NAMES = new Set(['utf8', 'unicode', 'sqlascii']);
const TRUE = /^(on|true|tru|tr|t|yes|ye|y|1)$/i;
const AUTHENTICATION = 'sallyport.auth';
/** As the server cuts it (NAMEDATALEN - 1). */
const MAX_APPLICATION_NAME = 63;

/**
 * What the StartupMessage asks for. `isAllowed` adds to the allow-list of settings, or takes from it: the lane's rules of SET.
 * @throws StartupError SPG104, SPG105, SPG106, SPG115
 */
export function startupRequest(
  message: StartupMessage,
  isAllowed: (name: string, value: string) => boolean = (name) => ALLOWED_SETTINGS.has(name),
): StartupRequest {
  const settings = new Map<string, string>();
  let user = '';
  let database = '';
  let authentication: StartupRequest['authentication'];

  const set = (name: string, value: string): void => {
    const key = name.toLowerCase().replaceAll('-', '_');
    if (key === AUTHENTICATION) {
      if (value !== 'password' && value !== 'oauthbearer') throw new StartupError('SPG115', shown(value));
      authentication = value;
      return;
    }
    if (!isAllowed(key, value)) throw new StartupError('SPG105', shown(name));
    if (key === 'client_encoding' && !UTF8_NAMES.has(value.toLowerCase().replace(/[^a-z0-9]/g, ''))) {
      throw new StartupError('SPG105', `client_encoding=${shown(value)}`);
    }
    if ((key === 'standard_conforming_strings' || key === 'default_transaction_read_only') && !TRUE.test(value)) {
      throw new StartupError('SPG105', `${key}=${shown(value)}`);
    }
    settings.set(key, key === 'client_encoding' ? 'UTF8' : value);
  };

  // The command line first: what stands by itself in the packet wins over it, as in the server.
  for (const [name, value] of splitOptions(message.parameters.get('options') ?? '')) set(name, value);
  for (const [name, value] of message.parameters) {
    switch (name) {
      case 'user':
        user = value;
        break;
      case 'database':
        database = value;
        break;
      case 'options':
        break;
      case 'replication':
        // "false" is what a client sends that does not replicate; any other word is a walsender.
        if (!/^(false|off|no|0)$/i.test(value)) throw new StartupError('SPG106');
        break;
      default:
        set(name, value);
    }
  }
  if (user === '') throw new StartupError('SPG104', 'no user name');
  // The server's own default: the database is named as the user.
  if (database === '') database = user;
  const applicationName = printableAscii(settings.get('application_name') ?? '');
  settings.delete('application_name');
  return { user, database, applicationName, settings, ...(authentication === undefined ? {} : { authentication }) };
}

/** As the server cleans application_name: other bytes become `?` (pg_clean_ascii), and it is cut to 63. */
function printableAscii(text: string): string {
  return Buffer.from(text, 'utf8')
    .subarray(0, MAX_APPLICATION_NAME)
    .toString('latin1')
    .replace(/[^\x20-\x7e]/g, '?');
}

/**
 * NegotiateProtocolVersion, to be sent before authentication when the client asked for a newer minor version or for protocol
 * options that are not known here; undefined when there is nothing to say.
 */
export function negotiateProtocolVersion(message: StartupMessage): Buffer | undefined {
  if (message.minor <= PROTOCOL_MINOR && message.protocolOptions.length === 0) return undefined;
  const names = message.protocolOptions.map((name) => Buffer.from(`${name}\0`, 'utf8'));
  const head = Buffer.alloc(13);
  head.write('v', 'latin1');
  head.writeInt32BE(12 + names.reduce((sum, name) => sum + name.length, 0), 1);
  // PostgreSQL 18's server sends the whole version number here; older clients look at its minor half only.
  head.writeInt32BE((PROTOCOL_MAJOR << 16) | Math.min(message.minor, PROTOCOL_MINOR), 5);
  head.writeInt32BE(names.length, 9);
  return Buffer.concat([head, ...names]);
}

/** The minor version that the session speaks. 3.1 does not exist: PostgreSQL skipped it, and it is spoken as 3.0. */
export function agreedMinor(message: StartupMessage): 0 | 2 {
  return message.minor >= 2 ? 2 : 0;
}

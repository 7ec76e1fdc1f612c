import { execFile } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDevelopmentVerifier, signDevelopmentToken } from '../../proxy/identity/development.ts';
import { type ServerCertificate, selfMadeCertificate } from '../../proxy/identity/server-certificate.ts';
import { createTokenVerifier } from '../../proxy/identity/verifier.ts';
import { acceptWire, type Wire } from '../../proxy/listener/wire.ts';
import {
  type AuthenticatedClient,
  acceptClient,
  type ClientAuthOptions,
  type ClientCancel,
} from '../../proxy/protocols/postgres/client-auth.ts';
import { authenticationOk, backendKeyData, readyForQuery } from '../../proxy/protocols/postgres/wire/encode.ts';
import { describeWith, program } from '../support/requires.ts';
import { clientProgram, findProgram, serverBinaries } from '../support/server-binaries.ts';

const signal = AbortSignal.timeout(120_000);
const key: KeyObject = generateKeyPairSync('ed25519').privateKey;
const verifier = createTokenVerifier({ issuers: [createDevelopmentVerifier(key, Date.now)], now: Date.now });
const subject = 'system:serviceaccount:shop:reporter';
const token = (ttlSeconds = 600, at = Date.now()): Promise<string> =>
  signDevelopmentToken(key, { subject, groups: [], claims: {}, ttlSeconds }, at);

let state: string;
let certificate: ServerCertificate;
beforeAll(async () => {
  state = await mkdtemp(path.join(tmpdir(), 'sallyport-identity-'));
  certificate = await selfMadeCertificate(state, () => [], Date.now);
  return () => rm(state, { recursive: true });
});

let gateway: net.Server;
/** What came of each client, in order. */
let outcomes: Promise<AuthenticatedClient | ClientCancel>[];
/** The accepted wires, in order. */
let wires: Wire[];
let settings: ClientAuthOptions;
let port: number;
beforeEach(async () => {
  outcomes = [];
  wires = [];
  settings = { verifier, tls: () => certificate.context(), plaintextLoopback: false };
  gateway = net.createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
    const wire = acceptWire(socket);
    wires.push(wire);
    const outcome = acceptClient(wire, settings, signal);
    outcomes.push(outcome);
    // Each test looks at the outcome that it is about; the others must not end the test process.
    outcome.then(serve, () => {});
  });
  gateway.listen(0, '127.0.0.1');
  await once(gateway, 'listening');
  port = (gateway.address() as net.AddressInfo).port;
});
afterEach(() => {
  gateway.close();
});

/** A session in which nothing happens until the client says goodbye. */
function serve(client: AuthenticatedClient | ClientCancel): void {
  if (client.type === 'cancel') {
    client.wire.destroy();
    return;
  }
  client.wire.onEnd = () => client.wire.destroy();
  client.wire.write(Buffer.concat([authenticationOk(), backendKeyData(7, Buffer.alloc(4)), readyForQuery(0x49)]));
  client.wire.resume();
}

async function session(): Promise<AuthenticatedClient> {
  const outcome = await outcomes.at(-1);
  if (outcome?.type !== 'session') throw new Error('no session');
  return outcome;
}

interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
function execute(file: string, parameters: readonly string[], env: Record<string, string>): Promise<Run> {
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', ...env }, signal };
    execFile(file, [...parameters], options, (error, stdout, stderr) => {
      resolve({ status: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr });
    });
  });
}

describeWith([program('psql', 'postgresql-client')], 'psql', () => {
  const psql = (password: string, env: Record<string, string> = {}): Promise<Run> =>
    execute(clientProgram('psql'), ['-X', '-w', '-c', '\\echo connected'], {
      PGHOST: '127.0.0.1',
      PGPORT: String(port),
      PGUSER: 'whoever',
      PGDATABASE: 'shop',
      PGPASSWORD: password,
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: certificate.caFile ?? '',
      ...env,
    });

  test('signs in with a token as the password, over verified TLS', async () => {
    const run = await psql(await token(), { PGAPPNAME: 'nightly', PGOPTIONS: '-c statement_timeout=5s' });
    expect(run).toMatchObject({ status: 0, stdout: 'connected\n', stderr: '' });
    const { identity, startup, wire, protocolMinor, residual } = await session();
    expect(identity.subject.username).toBe(subject);
    expect(startup).toMatchObject({ user: 'whoever', database: 'shop', applicationName: 'nightly' });
    expect(startup.settings.get('statement_timeout')).toBe('5s');
    expect(wire.encrypted).toBe(true);
    expect(protocolMinor).toBe(0);
    expect(residual).toHaveLength(0);
  });

  test('is told why a token is not accepted, in the words of a server, with the code and what to do', async () => {
    const expired = await token(60, Date.now() - 3_600_000);
    const run = await psql(expired);
    expect(run.status).toBe(2);
    expect(run.stderr).toContain('FATAL:  password authentication failed for user "whoever"');
    expect(run.stderr).toContain('SPI008: the token expired at');
    expect(run.stderr).toContain('HINT:');
    expect(run.stderr).not.toContain(expired.slice(-40));
    await expect(outcomes.at(-1)).rejects.toMatchObject({ code: 'SPG112', state: '28P01' });
    expect((await psql('hunter2')).stderr).toContain('SPI003');
    expect((await psql('x'.repeat(20_000))).stderr).toContain('SPI002');
  });

  test('is refused without TLS, unless plaintext is allowed on this machine', async () => {
    const run = await psql(await token(), { PGSSLMODE: 'disable' });
    expect(run.stderr).toContain('the connection is not encrypted');
    settings = { ...settings, plaintextLoopback: true };
    expect((await psql(await token(), { PGSSLMODE: 'disable' })).status).toBe(0);
    expect((await session()).wire.encrypted).toBe(false);
    settings = { ...settings, tls: undefined };
    expect((await psql(await token(), { PGSSLMODE: 'prefer' })).status).toBe(0);
  });

  test('is refused with a parameter that may not be set', async () => {
    expect((await psql(await token(), { PGOPTIONS: '-c role=postgres' })).stderr).toContain('SPG105');
  });

  test('is told to try again when the issuer does not answer, and not where the issuer is', async () => {
    settings = {
      ...settings,
      verifier: {
        discovery: {},
        verified: () => undefined,
        verify: () => Promise.reject(Object.assign(new Error('https://secret.example'), { code: 'SPI015', hint: 'h' })),
      },
    };
    const run = await psql(await token());
    expect(run.stderr).toContain('could not be verified just now');
    expect(run.stderr).not.toContain('secret.example');
  });

  const libraries = serverBinaries(18)?.relocatable;
  test.runIf(libraries !== undefined)('of PostgreSQL 18 speaks protocol 3.2 and direct TLS', async () => {
    const run = await psql(await token(), {
      LD_LIBRARY_PATH: path.join(libraries ?? '', 'lib'),
      PGSSLNEGOTIATION: 'direct',
      PGMAXPROTOCOLVERSION: 'latest',
    });
    expect(run).toMatchObject({ status: 0, stdout: 'connected\n' });
    expect(await session()).toMatchObject({ protocolMinor: 2 });
  });
});

/** libpq 18 itself, driven from Python: its hook takes the token from us, as an application's would. */
const LIBPQ_OAUTH = `
import ctypes, os, sys
pq = ctypes.CDLL(os.path.join(os.environ["LIBRARIES"], "libpq.so.5"))
class Request(ctypes.Structure):
    _fields_ = [("openid", ctypes.c_char_p), ("scope", ctypes.c_char_p), ("run", ctypes.c_void_p),
                ("cleanup", ctypes.c_void_p), ("token", ctypes.c_void_p), ("user", ctypes.c_void_p)]
token = ctypes.create_string_buffer(os.environ["TOKEN"].encode())
seen = []
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Request))
def hook(kind, connection, request):
    if kind != 1: return 0
    seen.append((request.contents.openid or b"").decode())
    request.contents.token = ctypes.addressof(token)
    return 1
pq.PQsetAuthDataHook(hook)
pq.PQconnectdb.restype = ctypes.c_void_p
pq.PQconnectdb.argtypes = [ctypes.c_char_p]
pq.PQerrorMessage.restype = ctypes.c_char_p
pq.PQerrorMessage.argtypes = pq.PQstatus.argtypes = [ctypes.c_void_p]
connection = pq.PQconnectdb(os.environ["CONNINFO"].encode())
print(pq.PQstatus(connection), ",".join(seen), pq.PQerrorMessage(connection).decode())
`;

const libpq18 = serverBinaries(18)?.relocatable;
describeWith(
  [program('python3'), () => (libpq18 === undefined ? 'libpq 18' : undefined)],
  'libpq 18 with OAUTHBEARER',
  () => {
    const connect = async (given: string, more = ''): Promise<Run> =>
      execute(findProgram('python3') ?? '', ['-c', LIBPQ_OAUTH], {
        LIBRARIES: path.join(libpq18 ?? '', 'lib'),
        LD_LIBRARY_PATH: path.join(libpq18 ?? '', 'lib'),
        TOKEN: given,
        CONNINFO:
          `host=127.0.0.1 port=${port} user=x dbname=shop sslmode=verify-full sslrootcert=${certificate.caFile} ` +
          `oauth_issuer=https://issuer.example oauth_client_id=agent require_auth=oauth ${more}`,
      });
    beforeEach(() => {
      const discovery = {
        openidConfiguration: 'https://issuer.example/.well-known/openid-configuration',
        scope: 'openid',
      };
      settings = { ...settings, authentication: 'oauthbearer', verifier: { ...verifier, discovery } };
    });

    test('signs in with a token', async () => {
      expect(await connect(await token())).toMatchObject({ status: 0, stdout: expect.stringMatching(/^0 /) });
      expect((await session()).identity.subject.username).toBe(subject);
    });

    test('may ask for it itself, where the listener would ask for a password', async () => {
      settings = { ...settings, authentication: 'password' };
      expect((await connect(await token())).stdout).toMatch(/^1 /);
      expect((await connect(await token(), "options='-c sallyport.auth=oauthbearer'")).stdout).toMatch(/^0 /);
    });

    test('is told why a token is refused', async () => {
      const run = await connect(await token(60, Date.now() - 3_600_000));
      expect(run.stdout).toMatch(/^1 /);
      expect(run.stdout).toContain('SPI008');
    });
  },
);

/** A client of bytes: what it sends is up to the test. */
async function rawClient(encrypted: boolean): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  if (!encrypted) return socket;
  socket.write(Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]));
  await once(socket, 'data');
  const secure = tls.connect({ socket, ca: await readFile(certificate.caFile ?? ''), servername: 'localhost' });
  await once(secure, 'secureConnect');
  return secure;
}
const startup = (minor = 0, ...texts: string[]): Buffer => {
  const body = Buffer.from(
    [...(texts.length > 0 ? texts : ['user', 'x', 'database', 'shop']), ''].map((text) => `${text}\0`).join(''),
  );
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length);
  head.writeInt32BE((3 << 16) | minor, 4);
  return Buffer.concat([head, body]);
};
const password = (text: string | Buffer): Buffer => {
  const body = Buffer.from(text as string);
  const head = Buffer.alloc(5);
  head.write('p');
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
};
const CLEARTEXT = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]);
async function everything(socket: net.Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('latin1');
}

describe('a client of bytes', () => {
  test('one byte at a time, through TLS', async () => {
    const client = await rawClient(true);
    client.setNoDelay(true);
    for (const byte of startup()) client.write(Buffer.from([byte]));
    expect((await once(client, 'data'))[0]).toEqual(CLEARTEXT);
    for (const byte of password(`${await token()}\0`)) client.write(Buffer.from([byte]));
    await once(client, 'data');
    expect((await session()).identity.subject.username).toBe(subject);
    client.destroy();
  });

  test('that sends its first command along with the password loses nothing of it', async () => {
    settings = { ...settings, plaintextLoopback: true };
    const client = await rawClient(false);
    client.write(startup());
    await once(client, 'data');
    const command = Buffer.from('Q\0\0\0\x0dSELECT 1\0');
    client.write(Buffer.concat([password(`${await token()}\0`), command]));
    await once(client, 'data');
    expect((await session()).residual).toEqual(command);
    client.destroy();
  });

  test('that came on a stream with a proved identity is not asked for a token', async () => {
    const proved = await verifier.verify(await token(), signal, '::1');
    settings = { ...settings, tls: undefined, proof: async () => proved };
    const client = await rawClient(false);
    client.write(startup());
    expect((await once(client, 'data'))[0].toString('latin1', 0, 9)).toBe('R\0\0\0\x08\0\0\0\0');
    const { identity, method } = await session();
    expect(identity).toBe(proved);
    expect(method).toBe('connector');
    client.destroy();
  });

  test('that was refused is gone as soon as it has read why', async () => {
    const started = performance.now();
    const client = await rawClient(false);
    client.write(startup());
    expect(await everything(client)).toContain('SPG108');
    const wire = wires.at(-1);
    if (wire?.closed === false) await once(wire.socket, 'close');
    expect(performance.now() - started).toBeLessThan(1_500);
  });

  test('that ends its side at once is still told why it is refused, through TLS too', async () => {
    const client = await rawClient(true);
    client.write(startup());
    await once(client, 'data');
    client.end(password('hunter2\0'));
    expect(await everything(client)).toContain('SPI003');
  });

  test('that cancels is not asked for a token', async () => {
    const client = await rawClient(false);
    client.write(Buffer.from([0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e, 0, 0, 0, 9, 1, 2, 3, 4]));
    expect(await everything(client)).toBe('');
    expect(await outcomes[0]).toMatchObject({ type: 'cancel', processId: 9, secret: Buffer.from([1, 2, 3, 4]) });
  });

  test('is told of the protocol version that is spoken before it is asked for a token', async () => {
    const client = await rawClient(true);
    client.write(startup(9999, 'user', 'x', '_pq_.grease', '1'));
    const [answer] = (await once(client, 'data')) as [Buffer];
    expect(answer[0]).toBe(0x76);
    expect(answer.toString('latin1')).toContain('_pq_.grease\0');
    client.destroy();
  });

  test('asks for GSSAPI, then TLS', async () => {
    const client = await rawClient(false);
    client.write(Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x30]));
    expect(String((await once(client, 'data'))[0])).toBe('N');
    client.write(Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]));
    expect(String((await once(client, 'data'))[0])).toBe('S');
    client.destroy();
  });

  const SSL = Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]);
  const GSS = Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x30]);
  test.each<[string, string, Buffer]>([
    ['puts bytes behind its request for TLS', 'SPG103', Buffer.concat([SSL, startup()])],
    ['puts bytes behind its request for GSSAPI', 'SPG103', Buffer.concat([GSS, startup()])],
    ['speaks HTTP', 'SPG101', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['speaks SSH', 'SPG101', Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')],
    ['speaks protocol 2', 'SPG102', Buffer.from([0, 0, 0, 9, 0, 2, 0, 0, 0])],
    ['claims a huge packet', 'SPG101', Buffer.from([0x7f, 0xff, 0xff, 0xff])],
    ['sends a truncated StartupMessage and ends', 'SPG116', startup().subarray(0, 20)],
    ['sends nothing and ends', 'SPG117', Buffer.alloc(0)],
    ['does not encrypt', 'SPG108', startup()],
    ['sends rubbish for a TLS handshake', 'SPG113', Buffer.from([0x16, 3, 1, 0, 4, 1, 2, 3, 4])],
  ])('that %s: %s', async (_name, code, bytes) => {
    const client = await rawClient(false);
    client.end(bytes);
    const answer = await everything(client);
    if (!['SPG113', 'SPG116', 'SPG117'].includes(code)) expect(answer).toContain(code);
    await expect(outcomes.at(-1)).rejects.toMatchObject({ code });
  });

  test.each<[string, string, Buffer]>([
    ['answers with a query', 'SPG110', Buffer.from('Q\0\0\0\x0dSELECT 1\0')],
    ['claims a huge password', 'SPG110', Buffer.from([0x70, 0x7f, 0xff, 0xff, 0xff])],
    ['claims a negative length', 'SPG110', Buffer.from([0x70, 0xff, 0xff, 0xff, 0xff])],
    ['sends a password without its NUL', 'SPG110', password('abc')],
    ['sends a password with a NUL inside', 'SPG110', password('abc\0def\0')],
    ['sends an empty message', 'SPG110', password('')],
    ['sends an empty password', 'SPI001', password('\0')],
  ])('that %s: %s', async (_name, code, bytes) => {
    settings = { ...settings, plaintextLoopback: true };
    const client = await rawClient(false);
    client.write(startup());
    await once(client, 'data');
    client.write(bytes);
    expect(await everything(client)).toContain(code);
    await expect(outcomes.at(-1)).rejects.toMatchObject({ name: 'StartupError' });
  });

  test.each<[string, Buffer[]]>([
    ['before its first byte', []],
    ['within its first packet', [startup().subarray(0, 6)]],
    ['in the TLS handshake', [SSL]],
    ['within its password', [startup(), password('abc').subarray(0, 3)]],
  ])('that stalls %s is told after the deadline', async (_name, writes) => {
    settings = { ...settings, plaintextLoopback: true, timeoutMs: 150 };
    const client = await rawClient(false);
    for (const bytes of writes) client.write(bytes);
    const answer = await everything(client);
    if (writes[0] !== SSL) expect(answer).toContain('SPG109');
    await expect(outcomes.at(-1)).rejects.toMatchObject({ code: 'SPG109' });
  });

  test('discovery: an empty auth is answered with where tokens come from, and has to be acknowledged', async () => {
    const discovery = {
      openidConfiguration: 'https://issuer.example/.well-known/openid-configuration',
      scope: 'openid',
    };
    settings = {
      ...settings,
      authentication: 'oauthbearer',
      plaintextLoopback: true,
      verifier: { ...verifier, discovery },
    };
    for (const [acknowledgement, code] of [
      [Buffer.from([1]), 'SPI001'],
      [Buffer.from('x'), 'SPG111'],
    ] as const) {
      const client = await rawClient(false);
      client.write(startup());
      expect(String((await once(client, 'data'))[0])).toContain('OAUTHBEARER');
      const first = 'n,,\x01auth=\x01\x01';
      const length = Buffer.alloc(4);
      length.writeInt32BE(first.length);
      client.write(password(Buffer.concat([Buffer.from('OAUTHBEARER\0'), length, Buffer.from(first)])));
      const [challenge] = (await once(client, 'data')) as [Buffer];
      expect(JSON.parse(challenge.toString('utf8', 9))).toEqual({
        status: 'invalid_token',
        'openid-configuration': discovery.openidConfiguration,
        scope: 'openid',
      });
      client.write(password(acknowledgement));
      expect(await everything(client)).toContain(code);
    }
  });
});

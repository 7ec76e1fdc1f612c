import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PostgresCredential } from '../../proxy/ports.ts';
import { startupReader, takeMessage } from '../../proxy/protocols/postgres/startup-reader.ts';
import { cancelUpstream, connectUpstream, type UpstreamSession } from '../../proxy/protocols/postgres/upstream.ts';
import { query } from '../../proxy/protocols/postgres/wire/encode.ts';
import type { Target } from '../../proxy/upstream/dial.ts';
import { UpstreamError } from '../../proxy/upstream/errors.ts';
import { type CertificateAuthority, createAuthority, type IssuedCertificate } from '../support/certificates.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer } from '../support/requires.ts';

const signal = AbortSignal.timeout(120_000);
const SECRET = 'Grüße ⅷ pass\u00a0word';

type Tls = Target['target']['tls'];
const connectionTo = (port: number, tlsSettings: Tls = { mode: 'Disable' }, host = '127.0.0.1'): Target => ({
  namespace: 'shop',
  name: 'db',
  target: { host, port, hostKeys: [], tls: tlsSettings },
});

interface Attempt {
  readonly credential?: PostgresCredential;
  readonly ca?: string | undefined;
  readonly database?: string;
  readonly parameters?: Record<string, string>;
  readonly minor?: 0 | 2;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}
const connect = (connection: Target, attempt: Attempt = {}): Promise<UpstreamSession> =>
  connectUpstream({
    connection,
    credential: attempt.credential ?? { type: 'password', username: 'scram', password: SECRET },
    certificateAuthorities: attempt.ca,
    database: attempt.database ?? 'postgres',
    parameters: attempt.parameters ?? {},
    protocolMinor: attempt.minor ?? 0,
    signal: attempt.signal ?? signal,
    ...(attempt.timeoutMs === undefined ? {} : { timeoutMs: attempt.timeoutMs }),
  });

const as = (username: string, password = SECRET): PostgresCredential => ({ type: 'password', username, password });

async function failure(promise: Promise<unknown>): Promise<UpstreamError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof UpstreamError) {
      for (const text of [error.message, error.hint, String(error.cause)]) expect(text).not.toContain(SECRET);
      return error;
    }
    throw error;
  }
  throw new Error('connected');
}

/** First column of the first row of a simple query, on the session as it was handed over. */
async function ask(session: UpstreamSession, sql: string): Promise<string> {
  const reader = startupReader(session.wire);
  session.wire.write(query(sql));
  let value = '';
  for (;;) {
    const { type, body } = await reader.read(
      takeMessage(() => {}),
      signal,
    );
    if (type === 0x44) value = body.toString('utf8', 6, 6 + body.readInt32BE(2));
    if (type === 0x45) value = body.toString('utf8').replaceAll('\0', ' ');
    if (type === 0x5a) {
      reader.release();
      return value;
    }
  }
}

describeWith([postgresServer(15)], 'a PostgreSQL 15 target', () => {
  let server: Postgres & AsyncDisposable;
  let other: { folder: string; authority: CertificateAuthority; localhost: IssuedCertificate };
  let client: IssuedCertificate;
  const plain = (): Target => connectionTo(server.port);
  const secure = (more: Partial<Tls> = {}, host?: string): Target =>
    connectionTo(server.port, { mode: 'VerifyFull', ...more }, host);
  const ca = async (): Promise<string> => readFile(server.tls?.caPath ?? '', 'utf8');

  beforeAll(async () => {
    server = await startPostgres({
      version: 15,
      tls: true,
      settings: { log_connections: true, log_min_messages: 'info' },
      hba: [
        'host all scram 127.0.0.1/32 scram-sha-256',
        'host all md5 127.0.0.1/32 md5',
        'host all clear 127.0.0.1/32 password',
        'host all trusted 127.0.0.1/32 trust',
        'hostssl all bycert 127.0.0.1/32 cert',
        'host all all 127.0.0.1/32 reject',
      ],
    });
    await server.sql(`
      CREATE ROLE scram LOGIN PASSWORD '${SECRET}';
      CREATE ROLE clear LOGIN PASSWORD '${SECRET}';
      CREATE ROLE trusted LOGIN; CREATE ROLE bycert LOGIN; CREATE ROLE nobody LOGIN;
      SET password_encryption = md5; CREATE ROLE md5 LOGIN PASSWORD '${SECRET}';`);
    client = await server.tls!.authority.issue('bycert');
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-ca-'));
    const authority = await createAuthority(folder, 'another authority');
    other = { folder, authority, localhost: await authority.issue('localhost', ['DNS:localhost']) };
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(other.folder, { recursive: true });
  });

  test.each(['scram', 'md5', 'trusted'])('%s without TLS', async (role) => {
    const session = await connect(plain(), {
      credential: as(role),
      parameters: { application_name: 'sallyport test' },
    });
    expect(session.backendPid).toBeGreaterThan(0);
    expect(session.cancelKey).toHaveLength(4);
    expect(session.residual).toHaveLength(0);
    expect(session.parameterStatus.get('server_version')).toMatch(/^15/);
    expect(session.parameterStatus.get('application_name')).toBe('sallyport test');
    expect(session.wire.encrypted).toBe(false);
    expect(await ask(session, 'SELECT current_user')).toBe(role);
    session.wire.destroy();
  });

  test.each(['scram', 'md5', 'clear', 'trusted'])('%s over TLS, host name and address verified', async (role) => {
    for (const host of ['localhost', '127.0.0.1']) {
      const session = await connect(secure({}, host), { credential: as(role), ca: await ca() });
      expect(session.wire.encrypted).toBe(true);
      expect(
        await ask(
          session,
          `SELECT ssl || ' ' || usename FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = ${session.backendPid}`,
        ),
      ).toBe(`true ${role}`);
      session.wire.destroy();
    }
  });

  test('a client certificate', async () => {
    const credential = {
      type: 'certificate',
      username: 'bycert',
      certificate: client.certificate,
      key: client.key,
    } as const;
    const session = await connect(secure(), { credential, ca: await ca() });
    expect(await ask(session, 'SELECT current_user')).toBe('bycert');
    session.wire.destroy();
    expect(
      (await failure(connect(secure(), { credential: { ...credential, key: other.localhost.key }, ca: await ca() })))
        .code,
    ).toBe('SPU009');
    const foreign = await other.authority.issue('bycert');
    const refused = connect(secure(), {
      credential: { ...credential, certificate: foreign.certificate, key: foreign.key },
      ca: await ca(),
    });
    expect((await failure(refused)).code).toBe('SPU008');
    expect(
      (await failure(connect(secure(), { credential: { ...credential, username: 'scram' }, ca: await ca() }))).code,
    ).toBe('SPU019');
  });

  test('protocol 3.2 is negotiated down with a server that does not speak it', async () => {
    const session = await connect(plain(), { minor: 2 });
    expect(session.protocolMinor).toBe(0);
    session.wire.destroy();
  });

  test('a wrong password, an unknown role and one that is refused are our error, not the words of the target', async () => {
    for (const credential of [as('scram', 'wrong'), as('md5', 'wrong'), as('nosuchrole'), as('nobody')]) {
      const error = await failure(connect(plain(), { credential }));
      expect(error.code).toBe('SPU010');
      expect(`${error.message} ${error.cause}`).not.toMatch(/nosuchrole|nobody|pg_hba|wrong/);
    }
  });

  test('the password is not sent in the clear without TLS', async () => {
    expect((await failure(connect(plain(), { credential: as('clear') }))).code).toBe('SPU012');
  });

  test('an unknown database and a setting that the target refuses', async () => {
    expect((await failure(connect(plain(), { database: 'nosuchdatabase' }))).code).toBe('SPU016');
    expect((await failure(connect(plain(), { parameters: { work_mem: 'much' } }))).code).toBe('SPU018');
    expect((await failure(connect(plain(), { parameters: { nosuch: 'x' } }))).code).toBe('SPU018');
  });

  test('a certificate of another authority, for another name, or none', async () => {
    const otherCa = other.authority.ca;
    expect((await failure(connect(secure(), { ca: otherCa }))).code).toBe('SPU006');
    expect((await failure(connect(secure()))).code).toBe('SPU006');
    expect((await failure(connect(secure({ mode: 'VerifyCA' }), { ca: otherCa }))).code).toBe('SPU006');
    const misnamed = await failure(connect(secure({ serverName: 'db.shop.svc' }), { ca: await ca() }));
    expect(misnamed).toMatchObject({ code: 'SPU007', message: expect.stringContaining('db.shop.svc') });
    const session = await connect(secure({ mode: 'VerifyCA', serverName: 'db.shop.svc' }), { ca: await ca() });
    expect(session.wire.encrypted).toBe(true);
    session.wire.destroy();
    expect((await failure(connect(secure(), { ca: 'rubbish' }))).code).toBe('SPU006');
  });

  test('somebody in between, with a certificate that would be trusted, is noticed by channel binding', async () => {
    const leaf = await server.tls!.authority.issue('localhost', ['DNS:localhost']);
    const middle = net.createServer((socket) => {
      socket.once('data', () => {
        socket.write('S');
        const inner = new tls.TLSSocket(socket, { isServer: true, cert: leaf.certificate, key: leaf.key });
        const outer = net.connect(server.port, '127.0.0.1', () =>
          outer.write(Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f])),
        );
        outer.once('data', () => {
          const upstream = tls.connect({ socket: outer, rejectUnauthorized: false });
          upstream.on('error', () => inner.destroy());
          inner.on('error', () => upstream.destroy());
          inner.pipe(upstream).pipe(inner);
        });
      });
    });
    middle.listen(0, '127.0.0.1');
    await once(middle, 'listening');
    const connection = connectionTo((middle.address() as net.AddressInfo).port, { mode: 'VerifyFull' }, 'localhost');
    expect((await failure(connect(connection, { ca: await ca() }))).code).toBe('SPU010');
    const unbound = await connect(connection, { credential: as('clear'), ca: await ca() });
    unbound.wire.destroy();
    middle.close();
    expect(server.log()).toContain('channel binding');
  });

  test.each(['Disable', 'VerifyFull'] as const)('a cancel reaches what runs (TLS: %s)', async (mode) => {
    const connection = mode === 'Disable' ? plain() : secure();
    const session = await connect(connection, { ca: await ca() });
    const asked = ask(session, 'SELECT pg_sleep(60)');
    const running = `SELECT 1 FROM pg_stat_activity WHERE pid = ${session.backendPid} AND wait_event = 'PgSleep'`;
    while ((await server.sql(running)).length === 0) signal.throwIfAborted();
    await cancelUpstream({
      connection,
      certificateAuthorities: await ca(),
      backendPid: session.backendPid,
      cancelKey: session.cancelKey,
      signal,
    });
    expect(await asked).toContain('57014');
    session.wire.destroy();
  });

  test('too many connections', async () => {
    await server.sql('ALTER ROLE trusted CONNECTION LIMIT 0');
    expect((await failure(connect(plain(), { credential: as('trusted') }))).code).toBe('SPU015');
    await server.sql('ALTER ROLE trusted CONNECTION LIMIT -1');
  });
});

describeWith([postgresServer(18)], 'a PostgreSQL 18 target', () => {
  test('protocol 3.2, with a long cancel key that works', async () => {
    await using server = await startPostgres({ version: 18 });
    const credential = as(server.user, server.password);
    const connection = connectionTo(server.port);
    const session = await connect(connection, { credential, minor: 2 });
    expect(session.protocolMinor).toBe(2);
    expect(session.cancelKey).toHaveLength(32);
    const asked = ask(session, 'SELECT pg_sleep(60)');
    const running = `SELECT 1 FROM pg_stat_activity WHERE pid = ${session.backendPid} AND wait_event = 'PgSleep'`;
    while ((await server.sql(running)).length === 0) signal.throwIfAborted();
    await cancelUpstream({ connection, backendPid: session.backendPid, cancelKey: session.cancelKey, signal });
    expect(await asked).toContain('57014');
    session.wire.destroy();
    expect((await failure(connect(connectionTo(server.port, { mode: 'VerifyFull' }), { credential }))).code).toBe(
      'SPU005',
    );
    await server.stop();
    expect((await failure(connect(connection, { credential }))).code).toBe('SPU002');
  });
});

test('a host name that does not exist', async () => {
  expect((await failure(connect(connectionTo(5432, { mode: 'Disable' }, 'nosuchhost.invalid')))).code).toBe('SPU001');
});

/** Bytes, or made from what the client wrote; null resets, undefined stays silent. */
type Answer = Buffer | string | null | undefined | ((request: Buffer) => Buffer);

/** A target that answers each of the client's writes with the next of `answers`. */
async function withTarget(answers: readonly Answer[], use: (port: number) => Promise<void>): Promise<void> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    let turn = 0;
    socket.on('error', () => sockets.delete(socket));
    socket.on('data', (request: Buffer) => {
      const next = answers[turn++];
      const answer = typeof next === 'function' ? next(request) : next;
      if (answer === null) socket.resetAndDestroy();
      else if (answer !== undefined) socket.write(answer);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await use((server.address() as net.AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

function frame(type: string, body: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}
const authentication = (code: number, data: Uint8Array | string = ''): Buffer => {
  const head = Buffer.alloc(4);
  head.writeInt32BE(code);
  return frame('R', Buffer.concat([head, Buffer.from(data as string)]));
};
const sasl = authentication(10, 'SCRAM-SHA-256\0\0');
/** A first message of SCRAM with the client's own nonce in it. */
const challenge =
  (rest: string) =>
  (request: Buffer): Buffer =>
    authentication(11, `r=${/r=(.*)$/.exec(request.toString('latin1'))?.[1]}x,${rest}`);
const ready = frame('Z', Buffer.from('I'));
const key = frame('K', Buffer.from([0, 0, 0, 1, 0, 0, 0, 2]));

test.each<[string, string, Answer[], Tls['mode']?]>([
  ['stalls after the connection', 'SPU003', [undefined]],
  ['stalls before TLS', 'SPU003', [undefined], 'VerifyFull'],
  ['stalls in the TLS handshake', 'SPU003', ['S', undefined], 'VerifyFull'],
  ['stalls in the password exchange', 'SPU003', [sasl, undefined]],
  ['stalls before it is ready', 'SPU003', [Buffer.concat([authentication(0), key])]],
  ['sends half a message', 'SPU003', [authentication(0).subarray(0, 6)]],
  ['resets at once', 'SPU004', [null]],
  ['resets in the TLS handshake', 'SPU004', ['S', null], 'VerifyFull'],
  ['resets in the password exchange', 'SPU004', [sasl, null]],
  ['does not speak TLS', 'SPU005', ['N'], 'VerifyFull'],
  ['answers the request for TLS with rubbish', 'SPU014', ['HTTP/1.1 400'], 'VerifyFull'],
  [
    'puts bytes behind its answer to the request for TLS',
    'SPU014',
    [Buffer.concat([Buffer.from('S'), authentication(0)])],
    'VerifyFull',
  ],
  ['speaks something else inside TLS', 'SPU008', ['S', 'HTTP/1.1 400 Bad Request\r\n\r\n'], 'VerifyFull'],
  ['speaks HTTP', 'SPU014', ['HTTP/1.1 400 Bad Request\r\n\r\n']],
  ['asks for GSSAPI', 'SPU011', [authentication(7)]],
  ['asks for an unknown mechanism', 'SPU011', [authentication(10, 'OAUTHBEARER\0\0')]],
  ['asks for the password in the clear', 'SPU012', [authentication(3)]],
  ['skips its own proof', 'SPU013', [sasl, authentication(0)]],
  ['answers with a nonce of its own', 'SPU013', [sasl, authentication(11, 'r=mine,s=c2FsdA==,i=4096')]],
  ['asks for very many rounds', 'SPU020', [sasl, challenge('s=c2FsdA==,i=999999999')]],
  [
    'proves nothing at the end',
    'SPU013',
    [sasl, challenge('s=c2FsdA==,i=1'), authentication(12, `v=${Buffer.alloc(32).toString('base64')}`)],
  ],
  ['sends a malformed first message', 'SPU014', [sasl, authentication(11, 'rubbish')]],
  ['sends a truncated request', 'SPU014', [frame('R', Buffer.from([0]))]],
  ['asks twice', 'SPU014', [authentication(5, 'salt'), authentication(5, 'salt')]],
  ['claims a huge message', 'SPU014', [Buffer.from([0x52, 0x7f, 0xff, 0xff, 0xff])]],
  ['sends rows before it is ready', 'SPU014', [Buffer.concat([authentication(0), frame('D', Buffer.alloc(2))])]],
  [
    'is in a transaction when it becomes ready',
    'SPU014',
    [Buffer.concat([authentication(0), key, frame('Z', Buffer.from('T'))])],
  ],
  ['refuses for another reason', 'SPU021', [frame('E', Buffer.from('SFATAL\0CXX000\0Msecret words\0\0'))]],
  ['is starting up', 'SPU017', [frame('E', Buffer.from('SFATAL\0C57P03\0Msecret words\0\0'))]],
])('a target that %s: %s', async (_name, code, answers, mode = 'Disable') => {
  await withTarget(answers, async (port) => {
    // Only a target that stalls is to run into the limit; the others are to be judged however slow the machine is.
    const timeoutMs = code === 'SPU003' ? 250 : 30_000;
    const error = await failure(connect(connectionTo(port, { mode }), { timeoutMs }));
    expect(error.code).toBe(code);
    expect(`${error.message}${error.cause}`).not.toContain('secret words');
  });
});

test('a caller that gives up is obeyed, and its reason is what is thrown', async () => {
  await withTarget([undefined], async (port) => {
    const gone = new AbortController();
    const connecting = connect(connectionTo(port), { signal: gone.signal });
    setImmediate(() => gone.abort(new Error('the client left')));
    await expect(connecting).rejects.toThrow('the client left');
  });
});

test('a pooler that sends no key, and bytes behind ReadyForQuery, are handed over', async () => {
  await withTarget(
    [Buffer.concat([authentication(0), frame('N', Buffer.from('SNOTICE\0\0')), ready, Buffer.from('A')])],
    async (port) => {
      const session = await connect(connectionTo(port));
      expect(session).toMatchObject({ backendPid: 0, residual: Buffer.from('A') });
      expect(session.notices).toEqual([frame('N', Buffer.from('SNOTICE\0\0'))]);
      session.wire.destroy();
    },
  );
});

test('whatever bytes a target sends, in whatever pieces, a session or an error of ours comes of it', async () => {
  const messages = [
    authentication(0),
    sasl,
    key,
    ready,
    frame('S', Buffer.from('a\0b\0')),
    frame('E', Buffer.from('C')),
    frame('v', Buffer.alloc(8)),
  ];
  const piece = fc.oneof(
    fc.constantFrom(...messages),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 6 }), fc.nat(), async (pieces, at) => {
      const bytes = Buffer.concat(pieces);
      const split = bytes.length === 0 ? 0 : at % bytes.length;
      const server = net.createServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.once('data', () => socket.write(bytes.subarray(0, split), () => socket.end(bytes.subarray(split))));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const connecting = connect(connectionTo((server.address() as net.AddressInfo).port), { timeoutMs: 2_000 });
      const outcome = await connecting.then(
        (session) => session.wire.destroy(),
        (error: unknown) => error,
      );
      server.close();
      if (outcome !== undefined) expect(outcome).toBeInstanceOf(UpstreamError);
    }),
    { numRuns: 200 },
  );
});

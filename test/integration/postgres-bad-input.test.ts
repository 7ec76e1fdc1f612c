/** What no well-behaved client sends: each is a clear error with its code, and everybody else goes on. */
import { createPublicKey, KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { developmentKey } from '../../proxy/identity/development.ts';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import { connectionYaml } from '../support/allow-everything.ts';
import { type LaneGround, startLaneGround } from '../support/lane-ground.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { sallyport } from '../support/sallyport.ts';
import { bind, fieldsOf, raw, shapeOf, unnamed, WireClient } from '../support/wire-client.ts';
import { order, type Step } from '../support/wire-compare.ts';

const { query, parse, sync, flush, execute, describe: describing } = encode;
const all = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
const WELL = ['T', 'D', 'C SELECT 1', 'ZI'];

const READER = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: reader}
spec:
  connections: {names: [reader]}
  subjects: [{serviceAccount: {name: reader}}]
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read], relations: ["public.*"]}
`;

describeWith([postgresServer(18)], 'bad input', () => {
  let ground: LaneGround;
  let witness: WireClient;
  beforeAll(async () => {
    ground = await startLaneGround({
      version: 18,
      schema: 'CREATE TABLE items (id int)',
      connections: { reader: '' },
      resources: { 'reader.yaml': READER },
    });
    witness = await ground.through('reader', 'reader');
  });
  afterAll(() => ground[Symbol.asyncDispose]());
  afterEach(async () => {
    expect(shapeOf(await witness.query('SELECT 1'))).toEqual(WELL);
  });

  const header = (type: string, length: number): Buffer => {
    const bytes = Buffer.alloc(5);
    bytes.write(type, 'latin1');
    bytes.writeUInt32BE(length, 1);
    return bytes;
  };

  describe('a message that is not one ends the session', () => {
    test.for<[string, Buffer, string]>([
      ['an unknown type', raw('z', 'x'), 'SPG005'],
      ['a type of the server', raw('T', Buffer.from([0, 0])), 'SPG005'],
      ['a password after the start', raw('p', 'secret\0'), 'SPG005'],
      ['a length below its own', header('Q', 3), 'SPG005'],
      ['a length of two gigabytes', header('Q', 0x7fffffff), 'SPG005'],
      ['a length of all ones', header('P', 0xffffffff), 'SPG005'],
      ['a Query with a NUL inside', raw('Q', 'SELECT 1\0; DROP TABLE items\0'), 'SPG005'],
      ['a Query without its NUL', raw('Q', 'SELECT 1'), 'SPG005'],
      ['an empty Query message', raw('Q', ''), 'SPG005'],
      ['a Parse without types', raw('P', 'a\0SELECT 1\0'), 'SPG005'],
      ['a Parse that says more types than it has', raw('P', Buffer.from('a\0SELECT 1\0\0\x05')), 'SPG005'],
      ['a Parse with something behind', raw('P', Buffer.from('a\0SELECT 1\0\0\0more')), 'SPG005'],
      ['a Bind that ends early', raw('B', Buffer.from('\0\0\0\0\0\x01')), 'SPG005'],
      ['a Bind with a negative length', raw('B', Buffer.from([0, 0, 0, 0, 0, 1, 255, 255, 255, 254, 0, 0])), 'SPG005'],
      ['a Bind whose value is longer than it', raw('B', Buffer.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 99, 0, 0])), 'SPG005'],
      ['a Bind with something behind', all(raw('B', Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 7]))), 'SPG005'],
      ['a Describe of neither kind', raw('D', 'x\0'), 'SPG005'],
      ['a Describe without its NUL', raw('D', 'Sx'), 'SPG005'],
      ['an Execute without a count', raw('E', '\0'), 'SPG005'],
      ['a Close of neither kind', raw('C', 'x\0'), 'SPG005'],
      ['an empty Close', raw('C', ''), 'SPG005'],
      ['a Sync with a body', raw('S', 'x'), 'SPG005'],
      ['a Flush with a body', raw('H', 'x'), 'SPG005'],
      ['a FunctionCall that is too short', raw('F', Buffer.from([0, 0])), 'SPG005'],
      ['a Close of a name of 9,000 bytes', raw('C', `S${'n'.repeat(9000)}\0`), 'SPG006'],
      ['a Bind of 65 MB, told by its length', header('B', 65 * 1024 * 1024 + 4096 * 1024), 'SPG006'],
    ])('%s', async ([, bytes, code]) => {
      await using client = await ground.through();
      client.send(bytes);
      const messages = await client.toEnd();
      expect(shapeOf(messages)).toHaveLength(1);
      expect(fieldsOf(messages[0]!)).toMatchObject({ S: 'FATAL', D: expect.stringContaining(code) });
      expect(fieldsOf(messages[0]!).C).toBe(code === 'SPG005' ? '08P01' : '54000');
    });
  });

  describe('a client that stops within a message', () => {
    const messages: readonly (readonly [string, Buffer])[] = [
      ['Query', query('SELECT 1')],
      ['Parse', parse('s', 'SELECT 1')],
      ['Bind', bind({ values: ['abc'] })],
      ['Execute', execute('p')],
      ['Describe', describing('S', 's')],
      ['CopyData', raw('d', 'x'.repeat(50))],
    ];
    test.for(messages)('%s, and leaves, or stays', async ([, bytes]) => {
      for (let cut = 1; cut < bytes.length; cut += 3) {
        await using client = await ground.through();
        client.send(bytes.subarray(0, cut));
        expect(shapeOf(await witness.query('SELECT 1'))).toEqual(WELL);
      }
      const agents =
        "SELECT 1 FROM pg_stat_activity WHERE datname = 'app' AND application_name = '' AND backend_type = 'client backend'";
      // Nobody who left: only the witness.
      await expect.poll(async () => (await ground.server.sql(agents)).length).toBe(1);
    });

    test('any one message in pieces of one byte', async () => {
      await using client = await ground.through();
      for (const byte of all(unnamed('SELECT $1::text', ['pieces']), sync())) client.send(Buffer.from([byte]));
      expect(shapeOf(await client.until('Z'))).toEqual(['1', '2', 'T', 'D', 'C SELECT 1', 'ZI']);
    });
  });

  describe('a statement', () => {
    const deep = `SELECT ${'(SELECT '.repeat(5000)}1${')'.repeat(5000)}`;
    const long = `SELECT '${'x'.repeat(1024 * 1024)}'`;
    const utf8 = raw('Q', all(Buffer.from("SELECT '"), Buffer.from([0xff, 0xc0, 0x80]), Buffer.from("'\0")));

    test.for<[string, Buffer, string, string]>([
      ['that does not parse', query('DROP the TABLE'), '42501', 'SPG001'],
      ['that is nested 5,000 deep', query(deep), '42501', 'SPG001'],
      ['of 1 MB', query(long), '54000', 'SPG003'],
      ['that is not UTF-8', utf8, '22021', 'SPG004'],
    ])('%s is refused, and the session goes on', async ([, bytes, state, code]) => {
      await using client = await ground.through('reader', 'reader');
      // With the next one behind it, whose answer must not come first.
      client.send(bytes, query('SELECT 1'));
      const [error, ready, ...rest] = await client.until('Z', 2);
      expect(fieldsOf(error!)).toMatchObject({ S: 'ERROR', C: state, D: expect.stringContaining(code) });
      expect(ready!.body.toString()).toBe('I');
      expect(shapeOf(rest)).toEqual(WELL);
    });

    test('that is refused in a pipeline fails in its place', async () => {
      const bad = parse('', long);
      const script = (failing: Buffer): Step[] => [
        { send: all(unnamed('SELECT 1'), failing, bind(), execute(''), sync(), unnamed('SELECT 2'), sync()), count: 2 },
        { send: all(query('BEGIN'), failing, sync(), query('SELECT 1'), query('ROLLBACK')), count: 4 },
      ];
      await using direct = await ground.direct();
      await using through = await ground.through('reader', 'reader');
      expect(await order(through, script(bad))).toEqual(await order(direct, script(parse('', 'SELEC'))));
      await using other = await ground.through('reader', 'reader');
      const notUtf8 = raw('P', Buffer.from([0, 0x53, 0xff, 0, 0, 0]));
      expect(await order(other, script(notUtf8))).toEqual(await order(direct, script(parse('', 'SELEC'))));
    });

    test('that nobody can parse, where everything is allowed, fails as it does directly', async () => {
      await using direct = await ground.direct();
      await using through = await ground.through();
      for (const sql of ['SELEC 1', 'SELECT (1', "SELECT 'open", 'DROP the TABLE', '$$']) {
        const [expected, found] = [await direct.errorOf(sql), await through.errorOf(sql)];
        expect(found.C, sql).toBe(expected.C);
        expect(found.M, sql).toBe(expected.M);
      }
    });

    test('of 200 KB is parsed apart from the others, who go on meanwhile', async () => {
      await using client = await ground.through('reader', 'reader');
      const values = Array.from({ length: 20_000 }, (_, i) => i).join(',');
      client.send(query(`SELECT count(*) FROM items WHERE id IN (${values})`), query('SELECT 1'));
      expect(shapeOf(await witness.query('SELECT 1'))).toEqual(WELL);
      expect(shapeOf(await client.until('Z', 2))).toEqual([...WELL, ...WELL]);
    });

    test('amid bytes of every kind: rubbish ends its session alone', async () => {
      let seed = 42;
      const random = (): number => {
        seed = (seed * 1103515245 + 12345) & 0x7fffffff;
        return seed >> 16;
      };
      for (let round = 0; round < 40; round++) {
        await using client = await ground.through('reader', 'reader');
        const bytes = Buffer.from(Array.from({ length: 64 + (random() % 400) }, () => random() & 255));
        // Types that exist, with bodies that do not fit.
        const type = 'QPBDECHSFdcfXp'[random() % 14]!;
        client.send(raw(type, bytes), flush());
        client.socket.end();
        await client.toEnd();
      }
    });
  });

  describe('a token', () => {
    const refused = async (token: string): Promise<Partial<Record<string, string>>> => {
      const attempt = WireClient.connect({ port: ground.port('reader'), database: 'app', password: token });
      const error: unknown = await attempt.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      return (error as { fields: Partial<Record<string, string>> }).fields;
    };
    const claims = { sub: 'system:serviceaccount:default:reader' };
    const token = (): SignJWT =>
      new SignJWT(claims)
        .setIssuer('sallyport:development')
        .setAudience('sallyport')
        .setIssuedAt()
        .setExpirationTime('5m')
        .setJti('x');
    const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

    test('that is none, is not signed, or is signed with something else', async () => {
      const key = await developmentKey(ground.state);
      const publicKey = createPublicKey(key as never);
      const good = await token().setProtectedHeader({ alg: 'EdDSA' }).sign(key);
      const [, payload, signature] = good.split('.');
      const now = Math.floor(Date.now() / 1000);
      const none = { ...claims, iss: 'sallyport:development', aud: 'sallyport', iat: now, exp: now + 300, jti: 'x' };
      const bytes = publicKey.export({ type: 'spki', format: 'pem' });
      const confused = await token()
        .setProtectedHeader({ alg: 'HS256' })
        .sign(
          KeyObject.from(
            await crypto.subtle.importKey('raw', Buffer.from(bytes), { name: 'HMAC', hash: 'SHA-256' }, true, ['sign']),
          ),
        );
      const attempts: Record<string, string> = {
        'no token': 'hunter2',
        'not signed': `${encoded({ alg: 'none' })}.${encoded(none)}.`,
        'alg none with the signature of a good one': `${encoded({ alg: 'none' })}.${payload}.${signature}`,
        'the public key as a secret': confused,
        'another payload': `${good.split('.')[0]}.${encoded({ ...none, sub: 'system:serviceaccount:default:everything' })}.${signature}`,
        'another issuer': await token()
          .setIssuer('https://issuer.example')
          .setProtectedHeader({ alg: 'EdDSA' })
          .sign(key),
        'another audience': await token().setAudience('other').setProtectedHeader({ alg: 'EdDSA' }).sign(key),
        'two audiences': await token()
          .setAudience(['sallyport', 'other'])
          .setProtectedHeader({ alg: 'EdDSA' })
          .sign(key),
        expired: await token().setExpirationTime('-10m').setProtectedHeader({ alg: 'EdDSA' }).sign(key),
        'not yet valid': await token().setNotBefore('10m').setProtectedHeader({ alg: 'EdDSA' }).sign(key),
      };
      for (const [name, attempt] of Object.entries(attempts)) {
        const fields = await refused(attempt);
        expect(fields, name).toMatchObject({ S: 'FATAL', C: '28P01' });
        expect(fields.D, name).toMatch(/SPI\d{3}/);
        expect(JSON.stringify(fields), name).not.toContain(attempt.slice(-20) === '' ? 'x' : attempt.slice(-20));
      }
      await using client = await WireClient.connect({ port: ground.port('reader'), database: 'app', password: good });
      expect(shapeOf(await client.query('SELECT 1'))).toEqual(WELL);
    });

    test('of somebody whom no policy names, and for a database that is not here', async () => {
      await expect(ground.through('reader', 'stranger')).rejects.toMatchObject({
        fields: { S: 'FATAL', C: '28000', D: expect.stringContaining('SPG022') },
      });
      await expect(ground.through('reader', 'reader', { database: 'nowhere' })).rejects.toMatchObject({
        fields: { S: 'FATAL', C: '3D000', D: expect.stringContaining('SPG023') },
      });
    });
  });

  test('200 clients that connect and say nothing hinder nobody', async () => {
    const silent = Array.from({ length: 200 }, () => new WireClient(ground.port('reader')));
    await Promise.all(silent.map((client) => once(client.socket, 'connect')));
    expect(shapeOf(await witness.query('SELECT 1'))).toEqual(WELL);
    await using client = await ground.through('reader', 'reader');
    expect(shapeOf(await client.query('SELECT 1'))).toEqual(WELL);
    for (const one of silent) one.socket.destroy();
  });

  describe('a folder', () => {
    test('that is broken by an edit: the last good policy stays in force, and the next good one is taken', async () => {
      const good = await readFile(path.join(ground.resources, 'reader.yaml'), 'utf8');
      for (const broken of [
        good.replace('effect: Allow', 'effect: Alow'),
        good.replace('spec:', 'spec: ['),
        `${good}---\n${good}`,
        `${good}---\n${connectionYaml('everything', { port: 1, database: 'x', username: 'x', password: 'x' })}`,
      ]) {
        const { changed, findings } = await ground.edit('reader.yaml', broken);
        expect(changed).toBe(false);
        expect(JSON.stringify(findings)).toMatch(/reader\.yaml/);
        expect(shapeOf(await witness.query('SELECT 1'))).toEqual(WELL);
        expect(await witness.errorOf('DELETE FROM items')).toMatchObject({ C: '42501' });
      }
      const narrower = good.replace('"public.*"', 'public.nothing');
      expect((await ground.edit('reader.yaml', narrower)).changed).toBe(true);
      expect(await witness.errorOf('SELECT * FROM items')).toMatchObject({ C: '42501' });
      expect((await ground.edit('reader.yaml', good)).changed).toBe(true);
      expect(shapeOf(await witness.query('SELECT * FROM items'))).toEqual(['T', 'C SELECT 0', 'ZI']);
    });

    test('that is broken, or defines an object twice: nothing is started, and each place is named', async () => {
      const folder = path.join(ground.folder, 'broken');
      const file = `${folder}.yaml`;
      await writeFile(file, `${READER}---\n${READER.replace('read\n', 'read-again\n')}`);
      const twice = await sallyport(['run', '-f', file, '--state', `${folder}-state`]);
      expect(twice.status).toBe(1);
      expect(twice.stderr).toMatch(/broken\.yaml:\d+:\d+: error: .*default\/reader/);
      await writeFile(file, READER.replace('rules:', 'rulez:'));
      const wrong = await sallyport(['run', '-f', file, '--state', `${folder}-state`]);
      expect(wrong.status).toBe(1);
      expect(wrong.stderr).toMatch(/broken\.yaml:\d+:\d+: error/);
      const nowhere = await sallyport(['run', '-f', `${folder}-that-is-not-there`, '--state', `${folder}-state`]);
      expect(nowhere.status).toBe(1);
    });

    test('of state that another one uses: the second does not start', async () => {
      const second = await sallyport(['run', '-f', ground.resources, '--state', ground.state, '--plaintext-loopback']);
      expect(second.status).toBe(1);
      expect(second.stderr).toMatch(/SP[A-Z]\d{3}/);
      expect(second.stderr).toContain(ground.state);
    });
  });
});

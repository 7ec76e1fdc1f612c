import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { expect, it } from 'vitest';
import { DEFAULT_BACKOFF, waitAfter } from './backoff.ts';
import { deliverableUrl } from './http.ts';
import { parseSecrets, signatureHeaders } from './webhook.ts';

const body = Buffer.from('{"test":"ümlaut"}', 'utf8');

it('signs what another implementation verifies, with each of several secrets', () => {
  const texts = [randomBytes(24), randomBytes(64)].map((bytes) => `whsec_${bytes.toString('base64')}`);
  const seconds = Math.floor(Date.now() / 1000);
  const headers = signatureHeaders({ id: 'msg_1', body }, parseSecrets(texts.join('\n'), 'file'), seconds);
  for (const text of texts) {
    expect(new Webhook(text).verify(body.toString('utf8'), headers)).toEqual({ test: 'ümlaut' });
  }
  const foreign = new Webhook(`whsec_${randomBytes(32).toString('base64')}`);
  expect(() => foreign.verify(body.toString('utf8'), headers)).toThrow();
  expect(() => new Webhook(texts[0] ?? '').verify('{"test":"other"}', headers)).toThrow();
});

it('gives the signature of the specification’s own example', () => {
  // https://github.com/standard-webhooks/standard-webhooks, specification and the tests of its libraries.
  const secrets = parseSecrets('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n', 'file');
  const message = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', body: Buffer.from('{"test": 2432232314}') };
  expect(signatureHeaders(message, secrets, 1_614_265_330)['webhook-signature']).toBe(
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  );
});

it.each([
  ['', 'empty'],
  ['# only a comment\n', 'empty'],
  ['c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0', 'whsec_'],
  ['whsec_not*base64*not*base64*not*base64', 'base64'],
  ['whsec_c2hvcnQ=', '5 bytes'],
])('refuses the secret file %j without quoting it', (text, why) => {
  expect(() => parseSecrets(text, 'the-file')).toThrow(why);
  const secret = text.replace('whsec_', '').trim();
  if (secret !== '' && !secret.startsWith('#')) expect(() => parseSecrets(text, 'the-file')).not.toThrow(secret);
});

it('waits twice as long each time, by chance, up to a bound, and as long as it is asked to', () => {
  const settings = { ...DEFAULT_BACKOFF, random: () => 1 };
  expect([1, 2, 3, 4, 20].map((failures) => waitAfter(failures, settings))).toEqual([1000, 2000, 4000, 8000, 60_000]);
  expect(waitAfter(1, { ...settings, random: () => 0 })).toBe(500);
  expect(waitAfter(1, settings, 30_000)).toBe(30_000);
  expect(waitAfter(1, settings, 86_400_000)).toBe(60_000);
});

it.each([
  'http://example.com/',
  'ftp://127.0.0.1/',
  'http://127.0.0.1.example.com/',
  'http://localhost.evil/',
  'nonsense',
])('sends nothing to %s', (url) => {
  expect(() => deliverableUrl(url)).toThrow('neither https nor on this machine');
});

it.each(['https://example.com/a', 'http://127.0.0.1:1/', 'http://localhost/', 'http://[::1]:8080/'])(
  'sends to %s',
  (url) => {
    expect(deliverableUrl(url).href).toBe(url);
  },
);

import { describe, expect, it } from 'vitest';
import { checkpointText, originOf } from './chain.ts';
import { claimOf } from './checkpoint.ts';
import { encodeVerifier, noteSigner, openNote, parseVerifier, signNote } from './note.ts';

// The example of Go's golang.org/x/mod/sumdb/note, which the specification grew out of.
const GO_KEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const GO_SEED = 'AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz';
const GO_TEXT =
  'If you think cryptography is the answer to your problem,\n' + "then you don't know what your problem is.\n";
const GO_NOTE =
  `${GO_TEXT}\n` +
  '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A private key of Ed25519 in PEM, from its 32 bytes. */
function pem(seed: Buffer): string {
  return `-----BEGIN PRIVATE KEY-----\n${Buffer.concat([PKCS8, seed]).toString('base64')}\n-----END PRIVATE KEY-----\n`;
}

const go = parseVerifier(GO_KEY);
if (go === undefined) throw new Error('the key of the example is not taken');

describe('signed notes', () => {
  it('gives what others give for the same key and text', () => {
    const signer = noteSigner(pem(Buffer.from(GO_SEED, 'base64').subarray(1)), 'PeterNeumann');
    expect(encodeVerifier(signer)).toBe(GO_KEY);
    expect(signNote(GO_TEXT, signer)).toBe(GO_NOTE);
  });

  it('takes what others signed', () => {
    expect(openNote(GO_NOTE, [go])).toMatchObject({ result: 'valid', text: GO_TEXT });
  });

  it('takes one signature of several that it knows, and says by whom others are', () => {
    const other = noteSigner(pem(Buffer.alloc(32, 7)), 'example.org/other');
    const line = signNote(GO_TEXT, other).slice(GO_TEXT.length + 1);
    expect(openNote(GO_NOTE + line, [go])).toMatchObject({ result: 'valid' });
    expect(openNote(GO_NOTE, [other])).toEqual({
      result: 'unknown key',
      text: GO_TEXT,
      keys: ['PeterNeumann+c74f20a3'],
    });
  });

  it('refuses every changed bit', () => {
    const bytes = Buffer.from(GO_NOTE);
    for (let at = 0; at < bytes.length * 8; at++) {
      const changed = Buffer.from(bytes);
      changed[at >> 3] = (changed[at >> 3] ?? 0) ^ (1 << (at & 7));
      expect(openNote(changed.toString('utf8'), [go]).result).not.toBe('valid');
    }
  });

  it('refuses what is no note', () => {
    for (const note of ['', '\n', GO_TEXT, `${GO_TEXT}\n`, GO_NOTE.slice(0, -1), `${GO_TEXT}\n— PeterNeumann\n`]) {
      expect(openNote(note, [go])).toEqual({ result: 'malformed' });
    }
  });

  it('refuses keys whose id, type or length is wrong', () => {
    for (const text of [
      '',
      GO_KEY.replace('c74f20a3', 'c74f20a4'),
      GO_KEY.replace('+ARpc', '+AhpC'),
      GO_KEY.slice(0, -4),
      GO_KEY.replace('PeterNeumann', 'Peter Neumann'),
    ]) {
      expect(parseVerifier(text)).toBeUndefined();
    }
  });

  it('refuses private keys of other types', () => {
    expect(() => noteSigner('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n')).toThrow(Error);
  });
});

describe('checkpoints', () => {
  it('are the three lines of a C2SP checkpoint', () => {
    const origin = originOf({ namespace: 'shop', name: 'db', process: '6e750857035f' });
    const text = checkpointText(origin, 7, '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU');
    expect(text).toBe('sallyport.dev/record/shop/db/6e750857035f\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n');
    expect(claimOf(`${text}\n— x y\n`)).toEqual({ origin, n: 7, link: '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU' });
    for (const note of ['', text, `x\n07\n${text.split('\n')[2]}\n\n— x y\n`, `x\n7\nshort\n\n— x y\n`]) {
      expect(claimOf(note)).toBeUndefined();
    }
  });
});

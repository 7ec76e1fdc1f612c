/**
 * The one place that loads ssh2, of which identification, key exchange and ciphers are used, and neither user authentication nor channels.
 * What is declared here are inner parts of the pinned version; the tests of test/integration/ssh fail where another one differs.
 */
import { createRequire, Module } from 'node:module';
import path from 'node:path';
import type { GcmName } from './gcm.ts';

/** ssh2's own keys are not used, only what a key exchange asks of one. */
export interface Ssh2HostKey {
  readonly type: string;
  getPublicSSH(): Buffer;
  /** In DER for ECDSA. */
  sign(data: Buffer, hash?: string): Buffer;
}

export interface Ssh2Lists {
  readonly kex: string[];
  readonly serverHostKey: string[];
  readonly cs: { cipher: string[]; mac: string[]; compress: string[]; lang: string[] };
  readonly sc: { cipher: string[]; mac: string[]; compress: string[]; lang: string[] };
}

export interface Ssh2Config {
  readonly server: boolean;
  readonly ident: string;
  readonly offer: Ssh2Lists;
  readonly hostKeys?: Readonly<Record<string, Ssh2HostKey>>;
  readonly hostVerifier?: (key: Buffer) => boolean;
  readonly onWrite: (data: Buffer) => void;
  readonly onError: (error: Error) => void;
  readonly onHeader: (header: Ssh2Header) => void;
  readonly onHandshakeComplete: (negotiated: Ssh2Negotiated) => void;
}

export interface Ssh2Header {
  readonly versions: { readonly protocol: string; readonly software: string };
  readonly comments: string | undefined;
}

export interface Ssh2Negotiated {
  readonly kex: string;
  serverHostKey: string;
  readonly cs: { readonly cipher: string };
  readonly sc: { readonly cipher: string };
}

export interface Ssh2Cipher {
  outSeqno: number;
  allocPacket(payload: number): Buffer;
  /** Takes a packet of `allocPacket` with the payload at 5. */
  encrypt(packet: Buffer): void;
  free(): void;
  /** Only of AES-GCM without the native binding. */
  readonly _encSSLName?: GcmName;
  readonly _encKey?: Buffer;
  readonly _encIV?: Buffer;
}

export interface Ssh2Decipher {
  inSeqno: number;
  _onPayload: PayloadListener;
  decrypt(data: Buffer, from: number, to: number): number | undefined;
  free(): void;
  readonly _decipherSSLName?: GcmName;
  readonly _decipherKey?: Buffer;
  readonly _decipherIV?: Buffer;
}

export type PayloadListener = (payload: Buffer) => number | boolean | undefined;

export interface Ssh2KeyExchange {
  readonly sessionID: Buffer | undefined;
  readonly negotiated: Ssh2Negotiated;
  remoteExtInfoEnabled: boolean;
  /** Of the server, as it came. */
  _hostKey: Buffer | undefined;
}

export interface Ssh2Protocol {
  start(): void;
  parse(data: Buffer, from: number, to: number): void;
  cleanup(): void;
  rekey(): void;
  /** Called by ssh2 itself when it gives up. */
  disconnect: (reason: number) => void;
  _onPayload: PayloadListener;
  /** Ours while a key exchange is under way: then nothing else may be sent. */
  readonly _kexinit: Buffer | undefined;
  _kex: Ssh2KeyExchange | undefined;
  _cipher: Ssh2Cipher;
  _decipher: Ssh2Decipher | undefined;
  /** Payloads for after the key exchange. */
  _queue: Buffer[] | undefined;
  _offer: object;
}

const load = createRequire(import.meta.url);

/**
 * A native binding that somebody's npm has built is left alone, so that what runs does not depend on whether a compiler was there. To
 * ssh2 it looks as if it failed to load.
 */
function withoutBinding(): void {
  const file = path.join(
    path.dirname(load.resolve('ssh2/package.json')),
    'lib/protocol/crypto/build/Release/sshcrypto.node',
  );
  load.cache[file] = Object.assign(new Module(file), { loaded: true, exports: undefined });
}
withoutBinding();

export const Protocol = load('ssh2/lib/protocol/Protocol.js') as new (config: Ssh2Config) => Ssh2Protocol;
export const handlers = load('ssh2/lib/protocol/handlers.js') as Readonly<
  Record<number, (protocol: Ssh2Protocol, payload: Buffer) => number | boolean | undefined>
>;
export const { KexInit, kexinit } = load('ssh2/lib/protocol/kex.js') as {
  readonly KexInit: new (lists: Ssh2Lists) => object;
  /** Sends SSH_MSG_KEXINIT with what `_offer` holds. */
  readonly kexinit: (protocol: Ssh2Protocol) => void;
};
export const { init, bindingAvailable } = load('ssh2/lib/protocol/crypto.js') as {
  readonly init: Promise<void>;
  readonly bindingAvailable: boolean;
};

/** What encrypts, for the log. */
export const engine = bindingAvailable ? 'the native binding of ssh2' : 'node:crypto (ssh2 without its native binding)';

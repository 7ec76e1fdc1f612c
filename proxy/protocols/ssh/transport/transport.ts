/**
 * Messages of one peer, both ways, below user authentication: ssh2's key exchange, ciphers of its and of ours, and what is not the
 * transport's own (RFC 4253) handed over raw.
 */
import { sshReader, string, uint32 } from '../../../../certificate/openssh/wire.ts';
import type { Wire } from '../../../listener/wire.ts';
import { Outgoing } from '../../../session/buffer-pool.ts';
import {
  CERTIFICATE,
  CHACHA,
  CIPHERS,
  certificateAlgorithm,
  GCM,
  KEY_EXCHANGES,
  MACS,
  plainAlgorithm,
  subjectKey,
} from './algorithms.ts';
import { createGcmOpener, createGcmSealer, type GcmSealer } from './gcm.ts';
import { serverKeys } from './host-keys.ts';
import type { HostKey } from './port.ts';
import {
  handlers,
  init,
  KexInit,
  kexinit,
  Protocol,
  type Ssh2Cipher,
  type Ssh2Decipher,
  type Ssh2KeyExchange,
  type Ssh2Lists,
} from './ssh2.ts';

const Message = { DISCONNECT: 1, IGNORE: 2, UNIMPLEMENTED: 3, DEBUG: 4, EXT_INFO: 7, KEXINIT: 20 } as const;

export type Role =
  | { readonly side: 'server'; readonly hostKeys: readonly HostKey[] }
  | {
      readonly side: 'client';
      /** Host key algorithms to ask for, best first; certificates' included. */
      readonly hostAlgorithms: readonly string[];
      /** Gets the key or certificate as it came, whose signature is checked afterwards. */
      readonly verifyHost: (key: Buffer) => boolean;
    };

export interface TransportOptions {
  readonly role: Role;
  /** Behind `SSH-2.0-`. */
  readonly version: string;
  /** Bytes of one direction after which new keys are agreed on. */
  readonly rekeyBytes: number;
  readonly debug: ((message: string) => void) | undefined;
}

/** Decrypted messages of one peer, both ways, below user authentication. */
export interface Transport {
  readonly peerVersion: string;
  /** Known once the first keys are agreed on (RFC 4253, section 7.2). */
  readonly sessionId: Buffer;
  /** The peer knows how to read SSH_MSG_EXT_INFO (RFC 8308). */
  readonly peerReadsExtensions: boolean;
  /** True while new keys are agreed on: what is sent waits. */
  readonly exchanging: boolean;
  /** The first keys are there. */
  onReady: () => void;
  /** Messages 5 and above, key exchange excluded. Memory of its own. */
  onMessage: (payload: Buffer) => void;
  /** Once, at the end: with an error, or with what the peer gave as its reason. */
  onClose: (error: Error | undefined) => void;
  onDrain: () => void;
  readonly congested: boolean;
  send(payload: Buffer): void;
  pause(): void;
  resume(): void;
  /** SSH_MSG_UNIMPLEMENTED for the message that is being handled. */
  unimplemented(): void;
  disconnect(reason: number, text: string): void;
}

/** The peer has said goodbye with a reason other than that the user wants to leave. */
export class PeerDisconnect extends Error {
  override readonly name = 'PeerDisconnect';
  readonly reason: number;
  constructor(reason: number, text: string) {
    super(`the peer disconnected: ${text} (reason ${reason})`);
    this.reason = reason;
  }
}

const BY_APPLICATION = 11;
const PROTOCOL_ERROR = 2;
/** Messages that may wait for the end of a key exchange: bulk data stops by itself, answers to a peer that goes on asking do not. */
const MAX_QUEUED = 16_384;
/** As much as may come between our wish for new keys and the peer's answer: more than any window of a peer that honours it. */
const KEX_BYTES = 64 * 1024 * 1024;
const KEX_MS = 60_000;
const GOODBYE_MS = 2_000;
/** For a client that speaks something else; the words are OpenSSH's. */
const NO_SSH = Buffer.from('Invalid SSH identification string.\r\n', 'latin1');
/** Of this size on, what was gathered goes out at once: up to it, the packets of one read become one write. */
const WRITE_SIZE = 131_072;
/** A payload of this size is bulk data, of which more is likely to follow within the turn. */
const BULK = 16_384;

const printable = (text: string): string =>
  text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 500);

/** Takes a paused wire over and starts to speak. @throws OpenSshError for a host key that SSH does not know */
export async function startTransport(wire: Wire, options: TransportOptions): Promise<Transport> {
  await init;
  const { role, debug } = options;
  const outgoing = new Outgoing();
  let flushing = false;
  let closed = false;
  let leaving = false;
  let ready = false;
  let paused = false;
  let failure: Error | undefined;
  let peerVersion = '';
  let peerReadsExtensions = false;
  let sealer: GcmSealer | undefined;
  let sealed = 0;
  let opened = 0;
  let sinceWish = 0;
  let kexTimer: NodeJS.Timeout | undefined;
  let goodbye: NodeJS.Timeout | undefined;

  const flush = (): void => {
    flushing = false;
    outgoing.writeTo(wire);
  };
  const output = (piece: Buffer): void => {
    if (closed || steering) return;
    outgoing.append(piece, 0, piece.length);
    sealed += piece.length;
    if (flushing) return;
    flushing = true;
    queueMicrotask(flush);
  };

  let kex: Ssh2KeyExchange | undefined;
  const server =
    role.side === 'server'
      ? serverKeys(role.hostKeys, () => {
          if (kex === undefined) throw new Error('a signature was asked for outside a key exchange');
          return kex.negotiated;
        })
      : undefined;
  const lists = (ciphers: string[]): Ssh2Lists => {
    const direction = { cipher: ciphers, mac: MACS, compress: ['none'], lang: [] };
    return role.side === 'server'
      ? { kex: KEY_EXCHANGES, serverHostKey: server?.names ?? [], cs: direction, sc: direction }
      : {
          kex: [...KEY_EXCHANGES, 'diffie-hellman-group-exchange-sha256'],
          serverHostKey: [...role.hostAlgorithms],
          cs: direction,
          sc: direction,
        };
  };
  /** Our first KEXINIT waits for that of the client. */
  let steering = false;
  const protocol = new Protocol({
    server: role.side === 'server',
    ident: options.version,
    offer: lists(role.side === 'server' ? CIPHERS : [...CIPHERS, CHACHA]),
    ...(role.side === 'server' ? { hostKeys: server?.keys ?? {} } : { hostVerifier: (key) => role.verifyHost(key) }),
    onWrite: (data) => output(data),
    // ssh2 has sent its disconnect and is of no use any more.
    onError: (error) => leave(error),
    onHeader: ({ versions, comments }) => {
      peerVersion = comments === undefined ? versions.software : `${versions.software} ${comments}`;
      debug?.(`the peer is ${peerVersion}`);
      steering = role.side === 'server' && versions.software.startsWith('OpenSSH_');
    },
    onHandshakeComplete: ({ kex: method, serverHostKey, cs, sc }) => {
      debug?.(`keys agreed on: ${method}, ${serverHostKey}, ${cs.cipher} and ${sc.cipher}`);
      sealed = 0;
      opened = 0;
      exchanged();
      if (ready) return;
      ready = true;
      transport.onReady();
    },
  });

  function exchanged(): void {
    clearTimeout(kexTimer);
    kexTimer = undefined;
    setPaused();
    if (ready && !wire.congested) queueMicrotask(() => transport.onDrain());
  }

  /** Its own list of signature algorithms has a comma too few, and knows nothing of what is accepted here. */
  function withOwnExtensions(exchange: Ssh2KeyExchange): void {
    Object.defineProperty(exchange, 'remoteExtInfoEnabled', {
      get: () => false,
      set(enabled: boolean) {
        peerReadsExtensions ||= enabled;
      },
    });
  }

  /**
   * Host certificates, which ssh2 does not know: the exchange hash is over the certificate, the signature by its key. ssh2 reads the host
   * key first for the hash and then for the signature; in any other order the signature does not fit, and nobody signs in.
   */
  function withHostCertificate(exchange: Ssh2KeyExchange): void {
    const algorithm = plainAlgorithm(exchange.negotiated.serverHostKey);
    // ssh2 compares the type of what it gets with what was negotiated, which for RSA differ (RFC 8332, section 3).
    if (algorithm.startsWith('rsa-sha2-')) exchange.negotiated.serverHostKey = certificateAlgorithm('ssh-rsa');
    let certificate: Buffer | undefined;
    let reads = 0;
    Object.defineProperty(exchange, '_hostKey', {
      get() {
        if (certificate === undefined) return undefined;
        reads++;
        return reads === 1 ? certificate : subjectKey(certificate).blob;
      },
      set(key: Buffer | undefined) {
        if (key === undefined) return;
        certificate = Buffer.from(key);
        // Compared with the signature's type from here on.
        exchange.negotiated.serverHostKey = algorithm;
      },
    });
  }

  Object.defineProperty(protocol, '_kex', {
    get: () => kex,
    set(exchange: Ssh2KeyExchange) {
      kex = exchange;
      kexTimer ??= setTimeout(
        () => transport.disconnect(PROTOCOL_ERROR, 'the key exchange takes too long'),
        KEX_MS,
      ).unref();
      if (role.side === 'server') withOwnExtensions(exchange);
      else if (exchange.negotiated.serverHostKey.endsWith(CERTIFICATE)) withHostCertificate(exchange);
    },
  });

  /**
   * The client's order of ciphers decides (RFC 4253, section 7.1), and OpenSSH's puts AES-CTR with a MAC before AES-GCM, which costs half
   * as much here. OpenSSH says what it has without waiting for us; so it is heard first, and offered AES-GCM alone where it has that.
   */
  function steer(payload: Buffer): void {
    steering = false;
    cipher.outSeqno = 0;
    const reader = sshReader(payload.subarray(17));
    const [, , toServer = '', toClient = ''] = [1, 2, 3, 4].map(() => reader.string().toString('latin1'));
    const known = [toServer, toClient].every((names) => names.split(',').some((name) => GCM.includes(name)));
    if (known) {
      const { kex: methods, ...rest } = lists(GCM);
      protocol._offer = new KexInit({ ...rest, kex: [...methods, 'kex-strict-s-v00@openssh.com'] });
    }
    kexinit(protocol);
  }

  let cipher = protocol._cipher;
  Object.defineProperty(protocol, '_cipher', {
    get: () => cipher,
    set(next: Ssh2Cipher) {
      cipher = next;
      const { _encSSLName: name, _encKey: key, _encIV: iv } = next;
      sealer = undefined;
      if (name === undefined || key === undefined || iv === undefined) return;
      const gcm = createGcmSealer({ name, key, iv }, output);
      sealer = gcm;
      next.encrypt = (packet) => {
        gcm.seal(packet.subarray(5, packet.length - packet[4]!));
        next.outSeqno = (next.outSeqno + 1) >>> 0;
      };
    },
  });

  let decipher = protocol._decipher;
  Object.defineProperty(protocol, '_decipher', {
    get: () => decipher,
    set(next: Ssh2Decipher) {
      decipher = next;
      const { _decipherSSLName: name, _decipherKey: key, _decipherIV: iv } = next;
      if (!ready && role.side === 'server') {
        const first = next._onPayload;
        next._onPayload = (payload) => {
          if (steering) steer(payload);
          return first(payload);
        };
      }
      if (name === undefined || key === undefined || iv === undefined) return;
      const opener = createGcmOpener({ name, key, iv }, (payload) => {
        next.inSeqno = (next.inSeqno + 1) >>> 0;
        return next._onPayload(payload);
      });
      next.decrypt = opener.open;
    },
  });

  /** Behind the first keys, in place of ssh2's own. */
  protocol._onPayload = (payload) => {
    const type = payload[0];
    if (type === undefined || leaving) return undefined;
    if (type >= 50) {
      transport.onMessage(payload);
      return undefined;
    }
    switch (type) {
      case Message.DISCONNECT: {
        const reader = sshReader(payload.subarray(1));
        const reason = reader.uint32();
        const text = printable(reader.string().toString('utf8'));
        leave(reason === BY_APPLICATION ? undefined : new PeerDisconnect(reason, text));
        return undefined;
      }
      case Message.IGNORE:
      case Message.UNIMPLEMENTED:
      case Message.DEBUG:
        return undefined;
      case Message.KEXINIT:
        return handlers[Message.KEXINIT]?.(protocol, payload);
      default:
        transport.onMessage(payload);
        return undefined;
    }
  };
  // ssh2 says no reason; and when it gives up, the client is told what for.
  protocol.disconnect = (reason) => sayGoodbye(reason, 'the key exchange failed');

  function sayGoodbye(reason: number, text: string): void {
    const payload = Buffer.concat([
      Buffer.from([Message.DISCONNECT]),
      uint32(reason),
      string(printable(text)),
      string(''),
    ]);
    encrypt(payload);
    outgoing.writeTo(wire);
  }

  function encrypt(payload: Buffer): void {
    if (sealer !== undefined) {
      sealer.seal(payload);
      cipher.outSeqno = (cipher.outSeqno + 1) >>> 0;
      return;
    }
    const packet = cipher.allocPacket(payload.length);
    packet.set(payload, 5);
    cipher.encrypt(packet);
  }

  /** Nothing more is read or sent; what was written still goes out. */
  function leave(error: Error | undefined): void {
    if (leaving) return;
    leaving = true;
    failure = error;
    clearTimeout(kexTimer);
    outgoing.writeTo(wire);
    wire.end();
    wire.resume();
    // A peer that does not close its side would keep the socket.
    goodbye = setTimeout(() => wire.destroy(), GOODBYE_MS).unref();
  }

  function setPaused(): void {
    if (leaving) return;
    // Paused within a key exchange, two connections that wait for one another would wait for ever.
    if (paused && protocol._kexinit === undefined && ready) wire.pause();
    else wire.resume();
  }

  function wishForKeys(): void {
    if (protocol._kexinit !== undefined || !ready) return;
    debug?.('new keys are due');
    sinceWish = 0;
    kexTimer = setTimeout(
      () => transport.disconnect(PROTOCOL_ERROR, 'the key exchange takes too long'),
      KEX_MS,
    ).unref();
    protocol.rekey();
    setPaused();
  }

  const transport: Transport = {
    get peerVersion() {
      return peerVersion;
    },
    get sessionId() {
      const id = kex?.sessionID;
      if (id === undefined) throw new Error('there is no session identifier before the first keys');
      return id;
    },
    get peerReadsExtensions() {
      return peerReadsExtensions;
    },
    get exchanging() {
      return protocol._kexinit !== undefined;
    },
    get congested() {
      return wire.congested || protocol._kexinit !== undefined;
    },
    onReady: () => {},
    onMessage: () => {},
    onClose: () => {},
    onDrain: () => {},
    send(payload) {
      if (leaving || closed) return;
      if (protocol._kexinit !== undefined) {
        protocol._queue ??= [];
        if (protocol._queue.push(payload) > MAX_QUEUED)
          transport.disconnect(PROTOCOL_ERROR, 'too much waits for new keys');
        return;
      }
      if (payload.length >= BULK && outgoing.length === 0) outgoing.reserve(WRITE_SIZE + payload.length);
      encrypt(payload);
      if (outgoing.length >= WRITE_SIZE) outgoing.writeTo(wire);
      if (sealed > options.rekeyBytes) wishForKeys();
    },
    pause() {
      paused = true;
      setPaused();
    },
    resume() {
      paused = false;
      // Whoever lets it go on after the sign-in takes messages as they come, and nothing is kept of a read.
      if (ready) wire.readInBulk();
      setPaused();
    },
    unimplemented() {
      const number = ((decipher?.inSeqno ?? 1) - 1) >>> 0;
      transport.send(Buffer.concat([Buffer.from([Message.UNIMPLEMENTED]), uint32(number)]));
    },
    disconnect(reason, text) {
      if (leaving || closed) return;
      // Before the peer has named its version there are no packets.
      if (decipher !== undefined) sayGoodbye(reason, text);
      leave(reason === PROTOCOL_ERROR ? new Error(text) : undefined);
    },
  };

  wire.onBytes = (chunk) => {
    if (leaving) return;
    opened += chunk.length;
    if (protocol._kexinit !== undefined && ready) {
      sinceWish += chunk.length;
      if (sinceWish > KEX_BYTES) {
        transport.disconnect(PROTOCOL_ERROR, 'no answer to the wish for new keys');
        return;
      }
    }
    try {
      // Until the first keys ssh2 keeps parts of what it reads, and the wire's buffer is used again.
      const bytes = ready ? chunk : Buffer.from(chunk);
      protocol.parse(bytes, 0, bytes.length);
    } catch (error) {
      const failed = error instanceof Error ? error : new Error(String(error));
      if (leaving) return;
      if (role.side === 'server' && peerVersion === '') wire.write(NO_SSH);
      if (decipher !== undefined) sayGoodbye(PROTOCOL_ERROR, failed.message);
      leave(failed);
      return;
    }
    if (opened > options.rekeyBytes) wishForKeys();
  };
  wire.onEnd = () => leave(failure);
  wire.onDrain = () => {
    if (!leaving && ready && protocol._kexinit === undefined) transport.onDrain();
  };
  wire.onClose = (error) => {
    closed = true;
    clearTimeout(kexTimer);
    clearTimeout(goodbye);
    const reason = leaving ? failure : error;
    leaving = true;
    outgoing.clear();
    protocol.cleanup();
    transport.onClose(reason);
  };
  wire.socket.setNoDelay(true);
  wire.socket.setKeepAlive(true, 30_000);
  protocol.start();
  wire.resume();
  return transport;
}

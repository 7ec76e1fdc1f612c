/** The leg to the client: host keys, user authentication (RFC 4252, RFC 4256, RFC 8308), and the connection layer behind it. */

import { type SignatureAlgorithm, verifySsh } from '../../../../certificate/openssh/signature.ts';
import { sshReader, string, uint32 } from '../../../../certificate/openssh/wire.ts';
import type { Wire } from '../../../listener/wire.ts';
import type { AuthAttempt, AuthOutcome } from '../auth/port.ts';
import { plainAlgorithm, subjectKey } from './algorithms.ts';
import { createLayer } from './layer.ts';
import { type AcceptedClient, type AcceptOptions, ClientFailure, DisconnectReason } from './port.ts';
import { startTransport, type Transport } from './transport.ts';
import { GATEWAY_VERSION, REKEY_BYTES } from './versions.ts';

const Message = {
  SERVICE_REQUEST: 5,
  SERVICE_ACCEPT: 6,
  EXT_INFO: 7,
  USERAUTH_REQUEST: 50,
  USERAUTH_FAILURE: 51,
  USERAUTH_SUCCESS: 52,
  USERAUTH_BANNER: 53,
  /** Of public keys and of keyboard-interactive: the same number for two things. */
  PK_OK_OR_INFO_REQUEST: 60,
  INFO_RESPONSE: 61,
} as const;

const SIGNATURES: readonly SignatureAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
];
const isSignature = (name: string): name is SignatureAlgorithm => SIGNATURES.some((known) => known === name);

/** Attempts that a client may send ahead of their answers. */
const AHEAD = 16;
const AHEAD_BYTES = 128 * 1024;
const MAX_NAME = 256;

const message = (type: number, ...parts: Buffer[]): Buffer => Buffer.concat([Buffer.from([type]), ...parts]);
const bool = (value: boolean): Buffer => Buffer.from([value ? 1 : 0]);

/** What a client asked for, read. Undefined: a method that nobody offers. */
type Asked =
  | { readonly kind: 'attempt'; readonly attempt: AuthAttempt }
  | { readonly kind: 'interactive'; readonly username: string }
  | { readonly kind: 'bad-signature'; readonly username: string }
  | undefined;

class Violation extends Error {}

/** @throws Violation, OpenSshError for what is against the rules */
function readRequest(payload: Buffer, sessionId: Buffer): Asked {
  const reader = sshReader(payload);
  reader.byte();
  const username = reader.text();
  const service = reader.text();
  const method = reader.text();
  if (username.length > MAX_NAME || username.includes('\0')) throw new Violation('no such user name');
  if (service !== 'ssh-connection') throw new Violation('no such service');
  switch (method) {
    case 'none':
      return { kind: 'attempt', attempt: { username, method } };
    case 'password': {
      // A change of the password; there is none here.
      if (reader.byte() !== 0) return undefined;
      const password = reader.text();
      reader.end();
      return { kind: 'attempt', attempt: { username, method, password } };
    }
    case 'keyboard-interactive':
      return { kind: 'interactive', username };
    case 'publickey': {
      const signed = reader.byte() !== 0;
      const algorithm = reader.text();
      const key = reader.string();
      const attempt = { username, method, algorithm, key: Buffer.from(key) } as const;
      if (!signed) {
        reader.end();
        return { kind: 'attempt', attempt: { ...attempt, verified: false } };
      }
      const until = reader.position;
      const signature = reader.string();
      reader.end();
      const data = Buffer.concat([string(sessionId), payload.subarray(0, until)]);
      if (!fits(algorithm, key, data, signature)) return { kind: 'bad-signature', username };
      return { kind: 'attempt', attempt: { ...attempt, verified: true } };
    }
    default:
      return undefined;
  }
}

/** Whether the holder of the key, or of the key that a certificate is for, signed. */
function fits(algorithm: string, blob: Buffer, data: Buffer, signature: Buffer): boolean {
  const plain = plainAlgorithm(algorithm);
  if (!isSignature(plain)) return false;
  // The name says whether a certificate follows; one in place of the other would be judged as what it is not.
  const type = sshReader(blob).text();
  if ((type === plainAlgorithm(type)) !== (algorithm === plain)) return false;
  return verifySsh(subjectKey(blob), data, signature, plain);
}

/**
 * Lets a client sign in. Failing that, the client has been told why and its connection is closed.
 * @throws ClientFailure
 */
export async function acceptClient(wire: Wire, options: AcceptOptions): Promise<AcceptedClient> {
  const { signal, debug } = options;
  if (signal.aborted) {
    wire.destroy();
    throw new ClientFailure('aborted', 'the gateway stops');
  }
  const transport = await startTransport(wire, {
    role: { side: 'server', hostKeys: options.hostKeys },
    version: GATEWAY_VERSION,
    rekeyBytes: options.rekeyBytes ?? REKEY_BYTES,
    debug,
  });
  return new Promise((resolve, reject) => {
    const ending = new AbortController();
    const rejected: Error[] = [];
    const settle = (): void => {
      clearTimeout(grace);
      signal.removeEventListener('abort', aborted);
    };
    const fail = (failure: ClientFailure, reason: number, text = failure.message): void => {
      settle();
      transport.disconnect(reason, text);
      ending.abort(failure);
      reject(failure);
    };
    const aborted = (): void =>
      fail(new ClientFailure('aborted', 'the gateway stops', rejected), DisconnectReason.BY_APPLICATION);
    const grace = setTimeout(
      () =>
        fail(
          new ClientFailure('timeout', `the sign-in took longer than ${options.loginGraceMs / 1000} s`, rejected),
          DisconnectReason.BY_APPLICATION,
        ),
      options.loginGraceMs,
    );
    signal.addEventListener('abort', aborted, { once: true });
    transport.onClose = (error) => {
      settle();
      const failure = new ClientFailure(
        error === undefined || isReset(error) ? 'closed' : 'protocol',
        error?.message ?? 'the client left before it was signed in',
        rejected,
        error,
      );
      ending.abort(failure);
      reject(failure);
    };
    transport.onReady = () => {
      // Without the list, clients with RSA keys would sign with SHA-1 (RFC 8308, section 3.1).
      if (!transport.peerReadsExtensions) return;
      transport.send(message(Message.EXT_INFO, uint32(1), string('server-sig-algs'), string(SIGNATURES.join(','))));
    };

    const signIn = createSignIn(transport, options, ending.signal, {
      rejected: (error) => void rejected.push(error),
      violation: (text) => fail(new ClientFailure('protocol', text, rejected), DisconnectReason.PROTOCOL_ERROR),
      exhausted: () =>
        fail(
          new ClientFailure('attempts', 'too many failed attempts to sign in', rejected),
          DisconnectReason.NO_MORE_AUTH_METHODS_AVAILABLE,
        ),
      broken: (error) =>
        fail(
          new ClientFailure('protocol', 'the sign-in could not be judged', rejected, error),
          DisconnectReason.BY_APPLICATION,
        ),
      accepted: (username, outcome) => {
        settle();
        // A request after the success is to be ignored (RFC 4252, section 5.3).
        const { layer, open, ended } = createLayer(transport, (payload) => {
          if (payload[0] !== Message.USERAUTH_REQUEST) transport.unimplemented();
        });
        transport.onClose = ended;
        resolve({
          layer,
          username,
          identity: outcome.accepted,
          method: outcome.method,
          clientVersion: transport.peerVersion,
          finish() {
            open();
            transport.send(message(Message.USERAUTH_SUCCESS));
          },
          banner(text) {
            // 32,000 bytes at most: a packet that every client takes (RFC 4253, section 6.1).
            for (const [piece] of text.matchAll(/.{1,8000}/gsu))
              transport.send(message(Message.USERAUTH_BANNER, string(piece), string('')));
          },
          refuse(text) {
            sendBanner(transport, text);
            transport.disconnect(DisconnectReason.BY_APPLICATION, text.split('\n', 1)[0] ?? '');
          },
        });
      },
    });
    transport.onMessage = (payload) => {
      try {
        signIn(payload);
      } catch (error) {
        fail(
          new ClientFailure('protocol', error instanceof Error ? error.message : String(error), rejected, error),
          DisconnectReason.PROTOCOL_ERROR,
          'a malformed request to sign in',
        );
      }
    };
  });
}

/** Who closes without having read the version that it was sent, as a look at the port does, resets the connection. */
function isReset(error: Error): boolean {
  return 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
}

function sendBanner(transport: Transport, text: string): void {
  const lines = text.endsWith('\n') ? text : `${text}\n`;
  transport.send(message(Message.USERAUTH_BANNER, string(lines.replace(/\r?\n/g, '\r\n')), string('')));
}

interface Events {
  rejected(error: Error): void;
  violation(text: string): void;
  exhausted(): void;
  broken(error: unknown): void;
  accepted(username: string, outcome: Extract<AuthOutcome, { accepted: unknown }>): void;
}

/** Takes messages until somebody is accepted. Attempts are judged one after the other. */
function createSignIn(
  transport: Transport,
  options: AcceptOptions,
  signal: AbortSignal,
  events: Events,
): (payload: Buffer) => void {
  const methods = options.methods.filter((method) => method !== 'none');
  let service = false;
  let failures = 0;
  let judging = false;
  let over = false;
  /** User of a keyboard-interactive that waits for answers. */
  let prompted: string | undefined;
  const ahead: Buffer[] = [];
  let aheadBytes = 0;

  const refuse = (counted: boolean): void => {
    if (counted && ++failures >= options.maxAttempts) {
      over = true;
      events.exhausted();
      return;
    }
    transport.send(message(Message.USERAUTH_FAILURE, string(methods.join(',')), bool(false)));
  };

  const prompt = (username: string, text: string): void => {
    prompted = username;
    transport.send(
      message(Message.PK_OK_OR_INFO_REQUEST, string(''), string(''), string(''), uint32(1), string(text), bool(false)),
    );
  };

  const judged = (attempt: AuthAttempt, outcome: AuthOutcome): void => {
    if ('accepted' in outcome) {
      over = true;
      events.accepted(attempt.username, outcome);
      return;
    }
    if ('acceptable' in outcome && attempt.method === 'publickey' && !attempt.verified) {
      transport.send(message(Message.PK_OK_OR_INFO_REQUEST, string(attempt.algorithm), string(attempt.key)));
      return;
    }
    if ('more' in outcome && attempt.method === 'keyboard-interactive') {
      prompt(attempt.username, outcome.more);
      return;
    }
    if ('error' in outcome) events.rejected(outcome.error);
    if ('rejected' in outcome && outcome.rejected !== '') sendBanner(transport, `sallyport: ${outcome.rejected}`);
    refuse(attempt.method !== 'none');
  };

  const judge = async (attempt: AuthAttempt): Promise<void> => {
    judging = true;
    try {
      const outcome = await options.authenticate(attempt, signal);
      if (signal.aborted || over) return;
      judged(attempt, outcome);
    } catch (error) {
      if (signal.aborted) return;
      over = true;
      events.broken(error);
      return;
    } finally {
      judging = false;
    }
    const next = ahead.shift();
    if (next === undefined) return;
    aheadBytes -= next.length;
    if (!over) transport.onMessage(next);
  };

  const request = (payload: Buffer): void => {
    prompted = undefined;
    const asked = readRequest(payload, transport.sessionId);
    switch (asked?.kind) {
      case undefined:
        refuse(true);
        return;
      case 'bad-signature':
        events.rejected(new Error('the signature is not one of the key'));
        refuse(true);
        return;
      case 'interactive':
        if (!methods.includes('keyboard-interactive')) {
          refuse(true);
          return;
        }
        prompt(asked.username, options.prompt ?? 'Token: ');
        return;
      case 'attempt': {
        const { method } = asked.attempt;
        if (method !== 'none' && !methods.includes(method)) {
          refuse(true);
          return;
        }
        void judge(asked.attempt);
      }
    }
  };

  const answer = (payload: Buffer): void => {
    const username = prompted;
    prompted = undefined;
    if (username === undefined) throw new Violation('an answer to no question');
    const reader = sshReader(payload);
    reader.byte();
    const count = reader.uint32();
    if (count > 1) throw new Violation('more answers than questions');
    const answers = Array.from({ length: count }, () => reader.text());
    reader.end();
    void judge({ username, method: 'keyboard-interactive', answers });
  };

  return (payload) => {
    if (over) return;
    const type = payload[0];
    if (judging) {
      aheadBytes += payload.length;
      if (ahead.push(payload) > AHEAD || aheadBytes > AHEAD_BYTES) events.violation('too many attempts at once');
      return;
    }
    switch (type) {
      case Message.SERVICE_REQUEST: {
        const name = sshReader(payload.subarray(1)).text();
        if (name !== 'ssh-userauth') throw new Violation('no such service');
        transport.send(message(Message.SERVICE_ACCEPT, string(name)));
        if (!service && options.banner !== undefined) sendBanner(transport, options.banner);
        service = true;
        return;
      }
      case Message.EXT_INFO:
        return;
      case Message.USERAUTH_REQUEST:
        if (!service) throw new Violation('a sign-in before its service');
        request(payload);
        return;
      case Message.INFO_RESPONSE:
        answer(payload);
        return;
      default:
        // Channels before the sign-in, above all.
        if (type !== undefined && type >= 80) throw new Violation('a channel before the sign-in');
        transport.unimplemented();
    }
  };
}

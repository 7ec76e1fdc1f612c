/** The leg to the target: pinned host keys, the credential, and the connection layer behind it. */
import type { KeyObject } from 'node:crypto';
import { parseCertificate } from '../../../../certificate/openssh/certificate.ts';
import { parsePublicKeyBlob, publicKeyOf } from '../../../../certificate/openssh/public-key.ts';
import { signatureAlgorithms, signSsh } from '../../../../certificate/openssh/signature.ts';
import { certificateProblem } from '../../../../certificate/openssh/verify.ts';
import { sshReader, string, uint32 } from '../../../../certificate/openssh/wire.ts';
import type { Wire } from '../../../listener/wire.ts';
import type { SshCredential } from '../../../ports.ts';
import { certificateAlgorithm, privateKeyOf } from './algorithms.ts';
import { createLayer } from './layer.ts';
import {
  type ConnectionLayer,
  type ConnectOptions,
  DisconnectReason,
  type PinnedHostKey,
  TargetFailure,
} from './port.ts';
import { startTransport, type Transport } from './transport.ts';
import { REKEY_BYTES, versionLike } from './versions.ts';

const Message = {
  SERVICE_REQUEST: 5,
  SERVICE_ACCEPT: 6,
  EXT_INFO: 7,
  USERAUTH_REQUEST: 50,
  USERAUTH_FAILURE: 51,
  USERAUTH_SUCCESS: 52,
  USERAUTH_BANNER: 53,
  /** Of keyboard-interactive; of passwords, that a new one is wanted. */
  INFO_REQUEST: 60,
  INFO_RESPONSE: 61,
} as const;

/** EXT_INFO is the only message that a target may send unasked here. */
const MAX_EARLY = 16;
/** Of all that a target shows to who signs in; the rest is left out. */
const MAX_BANNER = 128 * 1024;

const ALL_HOST_ALGORITHMS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
];

/** Only what could be found among the pins, so that a target with several keys shows one that is known. */
function hostAlgorithms(pins: readonly PinnedHostKey[]): string[] {
  const authority = pins.some(({ type }) => type === 'authority');
  const plain = pins.flatMap(({ type, key }) =>
    type === 'key' ? signatureAlgorithms(parsePublicKeyBlob(key).type) : [],
  );
  return [...(authority ? ALL_HOST_ALGORITHMS.map(certificateAlgorithm) : []), ...new Set<string>(plain)];
}

/** Undefined: the target is who it says. Else why not. */
function hostProblem(blob: Buffer, options: ConnectOptions): string | undefined {
  const type = sshReader(blob).text();
  if (!type.includes('-cert-')) {
    const known = options.hostKeys.some((pin) => pin.type === 'key' && pin.key.equals(blob));
    return known ? undefined : 'its host key is not one of those pinned';
  }
  const problem = certificateProblem(parseCertificate(blob), {
    use: 'host',
    authorities: options.hostKeys.filter((pin) => pin.type === 'authority').map(({ key }) => ({ blob: key })),
    principals: options.hostNames,
    now: (options.now ?? Date.now)(),
  });
  return problem === undefined ? undefined : `its host certificate ${problem}`;
}

const message = (type: number, ...parts: Buffer[]): Buffer => Buffer.concat([Buffer.from([type]), ...parts]);
const bool = (value: boolean): Buffer => Buffer.from([value ? 1 : 0]);

/**
 * Signs in to a target over a paused wire that is connected to it. Failing that, the wire is closed.
 * @throws TargetFailure; what the credential's promise was rejected with
 */
export async function connectTarget(wire: Wire, options: ConnectOptions): Promise<ConnectionLayer> {
  const { signal, debug } = options;
  if (signal.aborted) {
    wire.destroy();
    throw new TargetFailure('aborted', 'no longer wanted');
  }
  const algorithms = hostAlgorithms(options.hostKeys);
  if (algorithms.length === 0) {
    wire.destroy();
    throw new TargetFailure('host-key', 'no host key is pinned');
  }
  let problem: string | undefined;
  const transport = await startTransport(wire, {
    role: {
      side: 'client',
      hostAlgorithms: algorithms,
      verifyHost(key) {
        try {
          problem = hostProblem(key, options);
        } catch (error) {
          problem = `its host key cannot be read: ${error instanceof Error ? error.message : String(error)}`;
        }
        return problem === undefined;
      },
    },
    version: versionLike(options.clientVersion),
    rekeyBytes: options.rekeyBytes ?? REKEY_BYTES,
    debug,
  });
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', aborted);
    };
    const fail = (failure: TargetFailure): void => {
      settle();
      transport.disconnect(
        DisconnectReason.BY_APPLICATION,
        failure.code === 'authentication' ? 'bye' : failure.message,
      );
      reject(failure);
    };
    const aborted = (): void => fail(new TargetFailure('aborted', 'no longer wanted'));
    const timer = setTimeout(
      () => fail(new TargetFailure('timeout', `no sign-in within ${options.timeoutMs / 1000} s`)),
      options.timeoutMs,
    );
    signal.addEventListener('abort', aborted, { once: true });
    transport.onClose = (error) => {
      settle();
      reject(closedFailure(error, problem));
    };
    let shown = '';
    const events: Events = {
      failed: (text) => fail(new TargetFailure('authentication', text)),
      violation: (text) => fail(new TargetFailure('protocol', text)),
      banner(text) {
        const left = MAX_BANNER - shown.length;
        shown += text.slice(0, left);
      },
      accepted() {
        settle();
        if (shown !== '') options.onBanner?.(shown);
        const { layer, open, ended } = createLayer(transport, () => transport.unimplemented());
        transport.onClose = ended;
        open();
        resolve(layer);
      },
    };
    let signIn: ((payload: Buffer) => void) | undefined;
    /** What the target says while the credential is waited for: its extensions. */
    const early: Buffer[] = [];
    const begin = (credential: SshCredential): void => {
      debug?.(`signing in as ${credential.username}`);
      signIn = createSignIn(transport, credential, events);
      transport.send(message(Message.SERVICE_REQUEST, string('ssh-userauth')));
      for (const payload of early.splice(0)) transport.onMessage(payload);
    };
    transport.onReady = () => {
      const { credential } = options;
      if (typeof credential !== 'function') {
        begin(credential);
        return;
      }
      credential().then(begin, (error: unknown) => {
        settle();
        transport.disconnect(DisconnectReason.BY_APPLICATION, 'bye');
        reject(error);
      });
    };
    transport.onMessage = (payload) => {
      if (signIn === undefined) {
        if (early.push(payload) > MAX_EARLY) fail(new TargetFailure('protocol', 'messages before the sign-in'));
        return;
      }
      try {
        signIn(payload);
      } catch (error) {
        fail(new TargetFailure('protocol', 'a malformed message during the sign-in', error));
      }
    };
  });
}

function closedFailure(error: Error | undefined, problem: string | undefined): TargetFailure {
  if (problem !== undefined) return new TargetFailure('host-key', problem, error);
  if (error === undefined) return new TargetFailure('closed', 'the target closed the connection');
  // ssh2's words.
  if (/no matching host key format/i.test(error.message))
    return new TargetFailure('host-key', 'it has no host key of a type that is pinned', error);
  if (/no matching/i.test(error.message)) return new TargetFailure('negotiation', error.message, error);
  if ('code' in error) return new TargetFailure('closed', error.message, error);
  return new TargetFailure('protocol', error.message, error);
}

interface Events {
  failed(text: string): void;
  violation(text: string): void;
  banner(text: string): void;
  accepted(): void;
}

/** It may be longer than any key; what is cut off is none. */
function bannerOf(payload: Buffer): string {
  const length = payload.length < 5 ? 0 : payload.readUInt32BE(1);
  return length > payload.length - 5 ? '' : payload.toString('utf8', 5, 5 + length);
}

/** Shows the credential once; a password also as the answer to keyboard-interactive, which many targets ask for in its place. */
function createSignIn(transport: Transport, credential: SshCredential, events: Events): (payload: Buffer) => void {
  /** Of EXT_INFO; undefined: the target does not say. */
  let serverAlgorithms: readonly string[] | undefined;
  let interactive = false;
  let answered = false;

  const request = (method: string, ...fields: Buffer[]): Buffer =>
    message(Message.USERAUTH_REQUEST, string(credential.username), string('ssh-connection'), string(method), ...fields);

  const signed = (given: KeyObject | Buffer, certificate: Buffer | undefined): Buffer => {
    const privateKey = privateKeyOf(given);
    const { type, blob } = publicKeyOf(privateKey);
    const possible = signatureAlgorithms(type);
    const algorithm = possible.find((name) => serverAlgorithms?.includes(name) ?? true) ?? possible[0];
    if (algorithm === undefined) throw new Error(`no signature algorithm for ${type}`);
    const name = certificate === undefined ? algorithm : certificateAlgorithm(algorithm);
    const payload = request('publickey', bool(true), string(name), string(certificate ?? blob));
    const signature = signSsh(privateKey, Buffer.concat([string(transport.sessionId), payload]), algorithm);
    return Buffer.concat([payload, string(signature)]);
  };

  const start = (): Buffer => {
    switch (credential.type) {
      case 'certificate':
        return signed(credential.privateKey, credential.certificate);
      case 'key':
        return signed(credential.privateKey, undefined);
      case 'password':
        return request('password', bool(false), string(credential.password));
    }
  };

  const failure = (payload: Buffer): void => {
    const reader = sshReader(payload.subarray(1));
    const methods = reader.text().split(',');
    const partial = reader.byte() !== 0;
    if (credential.type === 'password' && !interactive && !partial && methods.includes('keyboard-interactive')) {
      interactive = true;
      transport.send(request('keyboard-interactive', string(''), string('')));
      return;
    }
    const wants = `it wants ${methods.join(' or ')}`;
    events.failed(
      partial ? `the target wants a second proof: ${wants}` : `the target refused the ${credential.type}; ${wants}`,
    );
  };

  const question = (payload: Buffer): void => {
    if (credential.type !== 'password') {
      events.violation('an answer to no question');
      return;
    }
    if (!interactive) {
      events.failed('the target wants the password to be changed');
      return;
    }
    const reader = sshReader(payload.subarray(1));
    reader.text();
    reader.text();
    reader.string();
    const count = reader.uint32();
    if (count === 0) {
      transport.send(message(Message.INFO_RESPONSE, uint32(0)));
      return;
    }
    reader.text();
    const echo = reader.byte() !== 0;
    // A second question, or one whose answer may be seen, is not for the password.
    if (count !== 1 || echo || answered) {
      events.failed('the target asks for more than the password');
      return;
    }
    answered = true;
    transport.send(message(Message.INFO_RESPONSE, uint32(1), string(credential.password)));
  };

  return (payload) => {
    switch (payload[0]) {
      case Message.EXT_INFO: {
        const reader = sshReader(payload.subarray(1));
        for (let left = reader.uint32(); left > 0; left--) {
          const name = reader.string().toString('latin1');
          const value = reader.string();
          if (name === 'server-sig-algs') serverAlgorithms = value.toString('latin1').split(',');
        }
        return;
      }
      case Message.SERVICE_ACCEPT:
        transport.send(start());
        return;
      case Message.USERAUTH_BANNER:
        events.banner(bannerOf(payload));
        return;
      case Message.USERAUTH_FAILURE:
        failure(payload);
        return;
      case Message.INFO_REQUEST:
        question(payload);
        return;
      case Message.USERAUTH_SUCCESS:
        events.accepted();
        return;
      default:
        transport.unimplemented();
    }
  };
}

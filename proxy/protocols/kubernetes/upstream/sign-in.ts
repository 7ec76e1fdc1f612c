import { KUBERNETES_EXTRA } from '../../../../api/cluster.ts';
import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { Subject } from '../../../../policy/subject.ts';
import type { ClusterIdentity, CredentialSource, KubernetesCredential, VerifiedIdentity } from '../../../ports.ts';
import type { HeaderFields, UpstreamTarget } from '../../http/core/port.ts';
import { kubernetesError, Refused } from '../errors.ts';
import { createTokenRequests } from './token-requests.ts';

/** How requests of one connection come to the API server: where it is, and with what. */
export interface SignIn {
  readonly target: UpstreamTarget;
  /** `authorization` and, where the connection impersonates, `impersonate-*`. @throws Refused SPL014 */
  headers(identity: VerifiedIdentity, session: string): HeaderFields;
  /** Whom the API server sees, where that is not the credential's own user. */
  readonly impersonates: boolean;
}

export interface SignIns {
  /** Remembered for some seconds: a rotated credential is used soon after. @throws an error with a stable code */
  of(connection: CompiledConnection, signal: AbortSignal): Promise<SignIn>;
  /** The API server did not know the credential: it is read anew for the next request. */
  refused(connection: CompiledConnection): void;
}

export interface SignInPorts {
  readonly credentials: CredentialSource;
  readonly cluster: ClusterIdentity | undefined;
  readonly now: () => number;
  /** Told when the API server did not know a credential. */
  readonly unknown?: (connection: string) => void;
}

/** For so long what was read is believed, in milliseconds: the kubelet, too, takes longer to bring a changed Secret to a pod. */
const BELIEVED_MS = 10_000;

/** Percent-encoded, as keys of `Impersonate-Extra-` are (RFC 3986): a slash is no character of a field name. */
const SESSION_EXTRA = `impersonate-extra-${encodeURIComponent(KUBERNETES_EXTRA.session).toLowerCase()}`;

export function createSignIns(ports: SignInPorts): SignIns {
  const tokens = createTokenRequests(ports);
  const known = new WeakMap<CompiledConnection, { readonly until: number; readonly made: Promise<SignIn> }>();

  return {
    of(connection, signal) {
      const found = known.get(connection);
      if (found !== undefined && ports.now() < found.until) return found.made;
      const made = signInOf(connection, ports, tokens, signal);
      known.set(connection, { until: ports.now() + BELIEVED_MS, made });
      // What could not be read may be there for the next request.
      made.catch(() => {
        if (known.get(connection)?.made === made) known.delete(connection);
      });
      return made;
    },
    refused(connection) {
      ports.unknown?.(`${connection.namespace}/${connection.name}`);
      known.delete(connection);
      tokens.forget(connection);
    },
  };
}

async function signInOf(
  connection: CompiledConnection,
  { credentials, cluster }: SignInPorts,
  tokens: ReturnType<typeof createTokenRequests>,
  signal: AbortSignal,
): Promise<SignIn> {
  const { namespace, name, target, credential } = connection;
  const { impersonate, serviceAccountToken, secretRef } = credential;
  const stored = secretRef?.name ?? impersonate?.secretRef?.name;
  const own = stored === undefined;
  if (own && cluster === undefined) {
    throw new Refused(
      kubernetesError('SPL014', 'it is that of Sallyport itself, which does not run in a cluster', {
        hint: 'Name a Secret in credential.secretRef or credential.impersonate.secretRef.',
      }),
    );
  }
  const signedIn: KubernetesCredential = own
    ? ((await cluster?.signIn(signal)) ?? {})
    : await credentials.kubernetes(connection, stored);
  const requested =
    serviceAccountToken === undefined ? undefined : await tokens.of(connection, serviceAccountToken, signal);
  const configured = await credentials.certificateAuthorities(connection);
  // Sallyport's own token, and tokens that its API server takes, go to nobody but that API server: whoever writes connections names
  // hosts and authorities, and would get them otherwise.
  const bound = own && (serviceAccountToken === undefined || serviceAccountToken.audiences.length === 0);
  if (bound && (target.tls.mode === 'Disable' || signedIn.certificateAuthorities === undefined)) {
    throw new Refused(
      kubernetesError('SPL014', 'it is sent to the API server of this cluster only, over TLS', {
        hint: 'Remove target.tls.mode, or name a Secret in credential.secretRef.',
      }),
    );
  }
  const authorities = bound ? signedIn.certificateAuthorities : (configured ?? signedIn.certificateAuthorities);
  const serverName = target.tls.serverName ?? signedIn.serverName;
  const certificate = requested === undefined ? signedIn.clientCertificate : undefined;
  const token = requested ?? signedIn.token;
  const authorization = token === undefined ? [] : ['authorization', `Bearer ${headerToken(token)}`];
  return {
    target: {
      label: `${namespace}/${name}`,
      host: target.host,
      port: target.port,
      ...(target.tls.mode === 'Disable'
        ? {}
        : {
            tls: {
              mode: target.tls.mode,
              ...(authorities === undefined ? {} : { certificateAuthorities: authorities }),
              ...(serverName === undefined ? {} : { serverName }),
              ...(certificate === undefined ? {} : { clientCertificate: certificate }),
            },
          }),
    },
    impersonates: impersonate !== undefined,
    headers: (identity, session) =>
      impersonate === undefined ? authorization : [...authorization, ...impersonation(identity.subject, session)],
  };
}

/** A token with a line feed inside would end the header; what is no token is a mistake of whoever stored it. */
function headerToken(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new Refused(kubernetesError('SPL014', 'the token is not one'));
}

/**
 * The caller in the words of impersonation (kubernetes.io/docs, "User impersonation"). The API server adds the groups of a service account
 * by itself, and asks for no right to them; the groups of others are those of their issuer, with its alias in front.
 */
function impersonation({ username, groups, serviceAccount }: Subject, session: string): HeaderFields {
  const named = ['impersonate-user', headerName(username)];
  const listed =
    serviceAccount === undefined ? groups.flatMap((group) => ['impersonate-group', headerName(group)]) : [];
  return [...named, ...listed, SESSION_EXTRA, session];
}

/**
 * A name as a field's value: its UTF-8 bytes, which the API server takes as they are. Blanks around it would be cut off on the way,
 * and make it another name.
 */
function headerName(name: string): string {
  if (name === '' || name !== name.trim() || /[\p{Cc}\p{Cs}]/u.test(name)) {
    throw new Refused(kubernetesError('SPL014', 'the name of the caller cannot be sent'));
  }
  return Buffer.from(name, 'utf8').toString('latin1');
}

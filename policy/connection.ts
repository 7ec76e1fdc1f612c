import type { AccessConnection } from '../api/resources.ts';
import type {
  ClientCertificate,
  CompiledConnection,
  OAuthClientCredentials,
  PostgresRole,
  ServiceAccountToken,
  SshCertificate,
  SshSubject,
} from './bundle.ts';
import { durationMs } from './duration.ts';

const DEFAULT_STALENESS_MS = 300_000;
const DEFAULT_AUDIT = { level: 'Full', maxResponseBytes: 65_536, retentionDays: 400 } as const;

/** The connection with every default of the CRD filled in and every duration in milliseconds. */
export function compileConnection({ metadata, spec }: AccessConnection): CompiledConnection {
  const { target, limits = {}, audit = {} } = spec;
  const { maxSessionDuration, idleTimeout, ...numbers } = limits;
  const maxSessionDurationMs = maxSessionDuration === undefined ? undefined : durationMs(maxSessionDuration);
  const idleTimeoutMs = idleTimeout === undefined ? undefined : durationMs(idleTimeout);
  const caRef = target.tls?.caRef;
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid ?? '',
    labels: metadata.labels ?? {},
    protocol: spec.protocol,
    mode: spec.mode ?? 'Enforce',
    maxPolicyStalenessMs:
      (spec.maxPolicyStaleness === undefined ? undefined : durationMs(spec.maxPolicyStaleness)) ?? DEFAULT_STALENESS_MS,
    target: {
      host: target.host,
      port: target.port,
      ...(target.database === undefined ? {} : { database: target.database }),
      hostKeys: target.hostKeys ?? [],
      tls: {
        mode: target.tls?.mode ?? 'VerifyFull',
        ...(caRef === undefined ? {} : { caRef: compileCaRef(caRef) }),
        ...(target.tls?.serverName === undefined ? {} : { serverName: target.tls.serverName }),
      },
    },
    credential: compileCredential(spec.credential),
    ssh: compileSsh(spec.ssh, metadata.namespace),
    http: compileHttp(spec.http, spec.credential !== undefined),
    limits: {
      ...numbers,
      ...(maxSessionDurationMs === undefined ? {} : { maxSessionDurationMs }),
      ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    },
    audit: {
      level: audit.level ?? DEFAULT_AUDIT.level,
      maxResponseBytes: audit.maxResponseBytes ?? DEFAULT_AUDIT.maxResponseBytes,
      retentionDays: audit.retentionDays ?? DEFAULT_AUDIT.retentionDays,
    },
  };
}

const DEFAULT_ROLE_TTL_MS = 900_000;
const DEFAULT_CERTIFICATE_TTL_MS = 300_000;
const DEFAULT_TOKEN_TTL_MS = 600_000;
const DEFAULT_SSH_TTL_MS = 120_000;
const DEFAULT_SSH_CERTIFICATE_LIFETIME_MS = 86_400_000;
const DEFAULT_SSH_CONNECTIONS = 64;

function compileCredential(credential: AccessConnection['spec']['credential']): CompiledConnection['credential'] {
  const { postgresRole, clientCertificate, sshCertificate, serviceAccountToken, impersonate, ...others } =
    credential ?? {};
  const { httpHeader, oauthClientCredentials, ...rest } = others;
  return {
    ...rest,
    ...(postgresRole === undefined ? {} : { postgresRole: compileRole(postgresRole) }),
    ...(clientCertificate === undefined ? {} : { clientCertificate: compileCertificate(clientCertificate) }),
    ...(sshCertificate === undefined ? {} : { sshCertificate: compileSshCertificate(sshCertificate) }),
    ...(httpHeader === undefined
      ? {}
      : {
          httpHeader: {
            name: httpHeader.name,
            secretRef: { name: httpHeader.secretRef.name, key: httpHeader.secretRef.key ?? 'token' },
          },
        }),
    ...(oauthClientCredentials === undefined ? {} : { oauthClientCredentials: compileOAuth(oauthClientCredentials) }),
    ...(serviceAccountToken === undefined ? {} : { serviceAccountToken: compileToken(serviceAccountToken) }),
    ...(impersonate === undefined
      ? {}
      : { impersonate: impersonate.secretRef === undefined ? {} : { secretRef: impersonate.secretRef } }),
  };
}

type Written = NonNullable<AccessConnection['spec']['credential']>;

function compileRole(role: NonNullable<Written['postgresRole']>): PostgresRole {
  return {
    scope: role.scope ?? 'Session',
    adminSecretRef: role.adminSecretRef,
    memberOf: role.memberOf ?? [],
    grantsFromPolicy: role.grantsFromPolicy ?? false,
    ttlMs: (role.ttl === undefined ? undefined : durationMs(role.ttl)) ?? DEFAULT_ROLE_TTL_MS,
  };
}

function compileCertificate(certificate: NonNullable<Written['clientCertificate']>): ClientCertificate {
  return {
    caSecretRef: certificate.caSecretRef,
    role: certificate.role,
    ttlMs: (certificate.ttl === undefined ? undefined : durationMs(certificate.ttl)) ?? DEFAULT_CERTIFICATE_TTL_MS,
  };
}

function compileSshCertificate(certificate: NonNullable<Written['sshCertificate']>): SshCertificate {
  return {
    caSecretRef: certificate.caSecretRef,
    principals: certificate.principals,
    scope: certificate.scope ?? 'Connection',
    sourceAddresses: certificate.sourceAddresses ?? [],
    ttlMs: (certificate.ttl === undefined ? undefined : durationMs(certificate.ttl)) ?? DEFAULT_SSH_TTL_MS,
  };
}

function compileOAuth({ caRef, ...oauth }: NonNullable<Written['oauthClientCredentials']>): OAuthClientCredentials {
  return {
    ...oauth,
    scopes: oauth.scopes ?? [],
    clientAuthentication: oauth.clientAuthentication ?? 'Basic',
    ...(caRef === undefined ? {} : { caRef: compileCaRef(caRef) }),
  };
}

type WrittenCaRef = NonNullable<NonNullable<AccessConnection['spec']['target']['tls']>['caRef']>;

function compileCaRef({ kind, name, key }: WrittenCaRef): NonNullable<CompiledConnection['target']['tls']['caRef']> {
  return { kind: kind ?? 'ConfigMap', name, key: key ?? 'ca.crt' };
}

const DEFAULT_BODY_BYTES = 1_048_576;
const DEFAULT_RESPONSE_MS = 60_000;

/** A session that a credential has opened at the target is as good as the credential. */
function compileHttp(http: AccessConnection['spec']['http'] = {}, signsIn: boolean): CompiledConnection['http'] {
  return {
    maxBodyBytes: http.maxBodyBytes ?? DEFAULT_BODY_BYTES,
    cookies: http.cookies ?? (signsIn ? 'Remove' : 'Pass'),
    responseTimeoutMs:
      (http.responseTimeout === undefined ? undefined : durationMs(http.responseTimeout)) ?? DEFAULT_RESPONSE_MS,
    mcpPaths: http.mcp?.paths ?? [],
  };
}

function compileToken(token: NonNullable<Written['serviceAccountToken']>): ServiceAccountToken {
  return {
    name: token.name,
    audiences: token.audiences ?? [],
    ttlMs: (token.ttl === undefined ? undefined : durationMs(token.ttl)) ?? DEFAULT_TOKEN_TTL_MS,
  };
}

type WrittenSsh = NonNullable<AccessConnection['spec']['ssh']>;
type WrittenSubject = NonNullable<WrittenSsh['trustedUserCAs']>[number]['subjects'][number];

/** @param namespace of the connection: the default of a service account's */
function compileSsh(ssh: WrittenSsh = {}, namespace: string): CompiledConnection['ssh'] {
  const account = (written: { readonly namespace?: string; readonly name: string }) => ({
    namespace: written.namespace ?? namespace,
    name: written.name,
  });
  const subject = ({ serviceAccount, user }: WrittenSubject): SshSubject =>
    serviceAccount === undefined ? { user: user ?? '' } : { serviceAccount: account(serviceAccount) };
  return {
    authorizedKeys: (ssh.authorizedKeys ?? []).map(({ serviceAccount, publicKey, expiresAt }) => ({
      serviceAccount: account(serviceAccount),
      publicKey,
      ...(expiresAt === undefined ? {} : { expiresAt: Date.parse(expiresAt) }),
    })),
    trustedUserCAs: (ssh.trustedUserCAs ?? []).map(({ publicKey, subjects, maxLifetime }) => ({
      publicKey,
      subjects: subjects.map((each) => ({ principal: each.principal, subject: subject(each) })),
      maxLifetimeMs:
        (maxLifetime === undefined ? undefined : durationMs(maxLifetime)) ?? DEFAULT_SSH_CERTIFICATE_LIFETIME_MS,
    })),
    maxConnectionsPerSubject: ssh.maxConnectionsPerSubject ?? DEFAULT_SSH_CONNECTIONS,
  };
}

/** Older first, and by name where there is no age: of connections to one target the first one serves. */
export function byAge(a: AccessConnection, b: AccessConnection): number {
  const key = ({ metadata }: AccessConnection): string =>
    [metadata.creationTimestamp ?? '', metadata.namespace, metadata.name].join('\0');
  return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;
}

/** Equal for connections that the same dialled address and start-up database would mean. */
export function targetKey({ spec: { target, protocol } }: AccessConnection): string {
  return [protocol, target.host, target.port, target.database ?? ''].join('\0');
}

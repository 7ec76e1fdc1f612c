import type { AccessConnection } from '../api/resources.ts';
import type { CompiledConnection } from './bundle.ts';
import { durationMs } from './duration.ts';

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
    target: {
      host: target.host,
      port: target.port,
      ...(target.database === undefined ? {} : { database: target.database }),
      tls: {
        mode: target.tls?.mode ?? 'VerifyFull',
        ...(caRef === undefined
          ? {}
          : { caRef: { kind: caRef.kind ?? 'ConfigMap', name: caRef.name, key: caRef.key ?? 'ca.crt' } }),
        ...(target.tls?.serverName === undefined ? {} : { serverName: target.tls.serverName }),
      },
    },
    credential: { ...spec.credential },
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

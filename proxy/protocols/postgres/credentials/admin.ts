import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { CredentialSource } from '../../../ports.ts';
import { type ControlConnection, ControlError, createControlConnection } from '../control.ts';
import { connectUpstream } from '../upstream.ts';
import { CredentialError } from './errors.ts';

/** What is known of the server and of the role that makes roles there, as of one connection. */
export interface AdminFacts {
  /** server_version_num. */
  readonly version: number;
  readonly role: string;
  readonly superuser: boolean;
  /** The server's clock less ours, in milliseconds. */
  readonly clockOffsetMs: number;
}

/**
 * The one connection to a target that signs in with the admin credential and makes roles. No command of an agent goes through it.
 * Opened when first needed, and again when it broke.
 */
export interface Admin {
  /**
   * Runs statements, several of them as one transaction, once those before are done. @throws ControlError; CredentialError and
   * UpstreamError when there is no connection; another error when it broke: then nobody knows what was done
   */
  run(sql: string): Promise<string[][]>;
  /** @throws as `run` */
  facts(): Promise<AdminFacts>;
  /** Another object after each new connection: what was known of the server then counts no more. */
  readonly epoch: object;
  close(): void;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** The target ends a slow statement itself: what takes longer is a target that has stopped answering. */
const QUERY_TIMEOUT_MS = 35_000;

/**
 * Roles are made and dropped without waiting for the disk: a crash of the server ends their sessions too, a role that came back by it
 * has expired or is swept, and rights are looked at again on every new connection. Locks of others are waited for briefly, since every
 * session waits behind them here.
 */
const PARAMETERS = {
  application_name: 'sallyport-credentials',
  client_encoding: 'UTF8',
  standard_conforming_strings: 'on',
  search_path: '',
  synchronous_commit: 'off',
  statement_timeout: '30s',
  lock_timeout: '1s',
} as const;

const FACTS = `SELECT pg_catalog.current_setting('server_version_num'), current_user, r.rolsuper, r.rolcreaterole,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())
  FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`;

/** A target that stalls must not hold back whoever waits for it. */
function inTime<T>(work: Promise<T>, broken: () => void): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    broken();
    late.reject(new Error(`the target has not answered for ${QUERY_TIMEOUT_MS / 1000} s`));
  }, QUERY_TIMEOUT_MS);
  return Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}

interface Opened {
  readonly control: ControlConnection;
  readonly facts: AdminFacts;
}

export function createAdmin(connection: CompiledConnection, secret: string, credentials: CredentialSource): Admin {
  const label = `${connection.namespace}/${connection.name}`;
  const stopping = new AbortController();
  let live: Opened | undefined;
  let opening: Promise<Opened> | undefined;
  let epoch: object = {};

  async function open(): Promise<Opened> {
    const [credential, certificateAuthorities] = await Promise.all([
      credentials.postgres(connection, secret),
      credentials.certificateAuthorities(connection),
    ]);
    const { wire } = await connectUpstream({
      connection,
      credential,
      certificateAuthorities,
      database: connection.target.database ?? '',
      parameters: PARAMETERS,
      protocolMinor: 0,
      signal: stopping.signal,
      timeoutMs: CONNECT_TIMEOUT_MS,
    });
    const control = createControlConnection(wire);
    try {
      const before = Date.now();
      const [row = []] = await inTime(control.query(FACTS), () => control.close());
      const [version = '', role = '', superuser = '', createsRoles = '', seconds = ''] = row;
      if (superuser !== 't' && createsRoles !== 't') throw new CredentialError('SPK001', [label]);
      const clockOffsetMs = Number(seconds) * 1000 - (before + Date.now()) / 2;
      epoch = {};
      return { control, facts: { version: Number(version), role, superuser: superuser === 't', clockOffsetMs } };
    } catch (error) {
      control.close();
      throw error;
    }
  }

  /** Of several that find it broken one opens it anew. */
  async function current(): Promise<Opened> {
    if (live?.control.closed === false) return live;
    if (stopping.signal.aborted) throw stopping.signal.reason;
    opening ??= open().finally(() => {
      opening = undefined;
    });
    live = await opening;
    return live;
  }

  return {
    async run(sql) {
      const { control } = await current();
      try {
        return await inTime(control.query(sql), () => control.close());
      } catch (error) {
        if (!(error instanceof ControlError)) control.close();
        throw error;
      }
    },
    facts: async () => (await current()).facts,
    get epoch() {
      return epoch;
    },
    close() {
      stopping.abort(new Error('Sallyport is stopping'));
      live?.control.close();
    },
  };
}

import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { MaskPlan } from '../../../policy/masking.ts';
import { createContentDetectors } from '../../masking/detectors.ts';
import { createFieldMasks } from '../../masking/fields.ts';
import type { CredentialSource } from '../../ports.ts';
import { bringTokenKeys } from '../../session/token-keys.ts';
import type { Catalog } from './catalog/types.ts';
import type { AuthenticatedClient } from './client-auth.ts';
import type { Environment, Judgement } from './judge.ts';
import type { Backend } from './relay/backend.ts';
import type { Frontend } from './relay/frontend.ts';
import type { SessionMasking } from './relay/masking.ts';
import { effectiveSearchPath } from './relay/search-path.ts';
import type { LaneSession } from './relay/session-state.ts';
import type { UpstreamSession } from './upstream.ts';
import * as encode from './wire/encode.ts';
import { STATUS } from './wire/messages.ts';

/** Brings the keys that the plan needs, so that nothing has to be waited for while rows go by. @throws CredentialError */
export async function sessionMasking(
  masks: MaskPlan,
  connection: CompiledConnection,
  credentials: CredentialSource,
): Promise<SessionMasking> {
  const tokenKey = await bringTokenKeys(masks, connection, credentials);
  const content = createContentDetectors(masks.content, tokenKey);
  return { masks, content, fields: createFieldMasks(masks.fields, tokenKey), tokenKey };
}

/** Start-up parameters for the target: the client's own as far as they were allowed, and what is pinned. */
export function upstreamParameters(client: AuthenticatedClient, readOnly: boolean): Record<string, string> {
  const parameters: Record<string, string> = {};
  for (const [name, value] of client.startup.settings) parameters[name] = value;
  if (client.startup.applicationName !== '') parameters['application_name'] = client.startup.applicationName;
  parameters['client_encoding'] = 'UTF8';
  parameters['standard_conforming_strings'] = 'on';
  // What no rule allows to write cannot write either, should every check of ours fail.
  if (readOnly) parameters['default_transaction_read_only'] = 'on';
  return parameters;
}

/** The environment of a fresh session. */
export function firstEnvironment(judgement: Judgement, catalog: Catalog | undefined, role: string): Environment {
  const temporary = new Set<string>();
  if (catalog === undefined)
    return judgement.environment({ searchPath: ['public'], role, catalog, temporary, uncommitted: false });
  const searchPath = effectiveSearchPath(catalog.defaultSearchPath, catalog.role, catalog) ?? [];
  return judgement.environment({ searchPath, role: catalog.role, catalog, temporary, uncommitted: false });
}

/** Lets the two directions of a session run into each other, with back-pressure and each end of it. */
export function wireTogether(session: LaneSession, frontend: Frontend, backend: Backend): void {
  const { client, upstream } = session;
  client.onBytes = (chunk) => frontend.feed(chunk);
  const { stream } = session.record;
  upstream.onBytes = (chunk) => {
    backend.feed(chunk);
    // The client has its answer: while it reads that, its outcome is hashed.
    stream.settle();
  };
  client.onDrain = () => upstream.resume();
  upstream.onDrain = () => frontend.resumeClient();
  client.onEnd = () => {
    if (!session.closing) session.finish('client closed');
  };
  client.onClose = (error) => {
    // Whoever said goodbye reads no more answers: a server that has some to write must not wait for that.
    if (!session.closing || session.goodbyeSent)
      session.finish(error === undefined ? 'client closed' : 'client connection broke');
  };
  upstream.onEnd = () => session.upstreamClosed();
  upstream.onClose = () => session.upstreamClosed();
}

/** AuthenticationOk, the target's parameters, its process id with a secret of ours, and ReadyForQuery. */
export function greet(session: LaneSession, upstream: UpstreamSession, secret: Buffer): void {
  const parameters = [...upstream.parameterStatus].map(([name, value]) => encode.parameterStatus(name, value));
  const observed = session.connection.mode === 'Observe' ? [OBSERVE_NOTICE] : [];
  const bytes = Buffer.concat([
    encode.authenticationOk(),
    ...parameters,
    ...upstream.notices,
    ...observed,
    encode.backendKeyData(upstream.backendPid, secret),
    encode.readyForQuery(STATUS.idle),
  ]);
  session.client.write(bytes);
}

const OBSERVE_NOTICE = encode.noticeResponse({
  severity: 'NOTICE',
  code: '00000',
  message: 'Sallyport observes this connection: what policy would deny passes, and is recorded.',
});

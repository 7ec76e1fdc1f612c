import { expect, test } from 'vitest';
import type { BundleDocument } from '../../api/bundle-document.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { Subject } from '../../policy/subject.ts';
import type { ClusterBundleSource } from './bundle-source.ts';
import { createClusterGate } from './gate.ts';

const connection = { namespace: 'shop', name: 'host' } as CompiledConnection;
const account = (namespace: string, pod = true): Subject => ({
  username: `system:serviceaccount:${namespace}:agent`,
  serviceAccount: { namespace, name: 'agent' },
  groups: [],
  claims: {},
  ...(pod ? { pod: { namespace, name: 'agent-1', uid: '1' } } : {}),
});
const person: Subject = { username: 'okta:ada', issuer: 'okta', groups: [], claims: {} };

/** Whether the gate keeps the subject out where these namespaces are allowed. */
function keptOut(subject: Subject, allowed: readonly string[] | undefined): boolean {
  const document = { allowedNamespaces: allowed === undefined ? {} : { host: allowed } } as unknown as BundleDocument;
  const gate = createClusterGate({ document } as ClusterBundleSource);
  const identity = { subject, sessionExpiresAt: new Date(0), tokenId: 'x', tokenLifetimeSeconds: 1 };
  return gate.refusal(connection, identity) !== undefined;
}

test.each([
  ['a pod of a namespace that is allowed', account('agents'), ['agents'], false],
  ['a pod of another', account('others'), ['agents'], true],
  ['a key that stands for an account of a namespace that is allowed', account('agents', false), ['agents'], false],
  ['a key that stands for an account of another', account('others', false), ['agents'], true],
  ['a key where all are allowed', account('others', false), ['*'], false],
  ['a key on a connection that nothing is known of', account('agents', false), undefined, true],
  ['somebody of an outside issuer', person, ['agents'], false],
])('%s', (_who, subject, allowed, out) => {
  expect(keptOut(subject, allowed)).toBe(out);
});

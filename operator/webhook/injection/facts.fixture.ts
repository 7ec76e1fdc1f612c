import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { AccessConnection } from '../../../api/resources.ts';
import type { InjectionContext } from './inject.ts';

/** The cluster of the golden files. */
export interface Facts {
  readonly namespaces: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly connections: readonly AccessConnection[];
  readonly version: string;
}

export function readFacts(): Facts {
  const facts = parse(readFileSync('test/golden/injection/facts.yaml', 'utf8')) as Omit<Facts, 'version'>;
  return { ...facts, version: '0.1.0' };
}

export const contextOf = ({ namespaces, connections, version }: Facts, namespace: string): InjectionContext => ({
  namespace,
  namespaceLabels: (name) => namespaces[name],
  connections,
  image: 'sallyport-connector',
  version,
});

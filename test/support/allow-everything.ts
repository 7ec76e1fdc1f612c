/**
 * The policy under which Sallyport has to be invisible: every kind of statement, every relation and every function, with those
 * spelled out that no wildcard covers.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { NAMED_ONLY } from '../../policy/kinds.ts';
import { judgeBuiltin } from '../../proxy/protocols/postgres/sql/dangerous.ts';
import {
  IMMUTABLE_BUILTINS,
  STABLE_BUILTINS,
  VOLATILE_BUILTINS,
} from '../../proxy/protocols/postgres/sql/generated/builtins.ts';

export interface Target {
  readonly port: number;
  readonly database: string;
  readonly username: string;
  readonly password: string;
}

/** The subject that the policy below lets do everything. */
export const EVERYTHING = 'system:serviceaccount:default:everything';

const FUNCTIONS_PER_RULE = 64;

function dangerousBuiltins(): string[] {
  const found: string[] = [];
  const add = (names: ReadonlySet<string>, volatility: 'i' | 's' | 'v'): void => {
    for (const name of names) if (judgeBuiltin(name, volatility) === 'dangerous') found.push(`pg_catalog.${name}`);
  };
  add(IMMUTABLE_BUILTINS, 'i');
  add(STABLE_BUILTINS, 's');
  add(VOLATILE_BUILTINS, 'v');
  return [...new Set(found)].sort();
}

/** An AccessConnection of that name and database, and the Secret with its credential. */
export function connectionYaml(name: string, target: Target): string {
  return `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata:
  name: ${name}
spec:
  protocol: Postgres
  target: {host: 127.0.0.1, port: ${target.port}, database: ${target.database}, tls: {mode: Disable}}
  credential:
    secretRef: {name: ${name}-db}
---
apiVersion: v1
kind: Secret
metadata:
  name: ${name}-db
stringData:
  username: ${target.username}
  password: ${target.password}
`;
}

/** `more`: names of functions in other schemas that are judged like the dangerous built-ins because they are called like them. */
export function allowEverythingYaml(more: readonly string[] = []): string {
  const functions = [...dangerousBuiltins(), ...more];
  const rules: string[] = [];
  for (let at = 0; at < functions.length; at += FUNCTIONS_PER_RULE) {
    const some = functions.slice(at, at + FUNCTIONS_PER_RULE);
    rules.push(`    - name: named-${rules.length}
      effect: Allow
      sql: {statements: ["*"], relations: ["*.*"], functions: [${some.map((name) => JSON.stringify(name)).join(', ')}]}
`);
  }
  return `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata:
  name: everything
spec:
  connections: {all: true}
  subjects:
    - serviceAccount: {name: everything}
  rules:
    - name: everything
      effect: Allow
      sql:
        statements: ["*", ${[...NAMED_ONLY].join(', ')}]
        relations: ["*.*"]
        functions: ["*.*"]
${rules.join('')}`;
}

/** Writes connections, all with the same policy, into a folder for `sallyport run -f`. */
export async function writeAllowEverything(
  folder: string,
  targets: Readonly<Record<string, Target>>,
  more: readonly string[] = [],
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const parts = Object.entries(targets).map(([name, target]) => connectionYaml(name, target));
  await writeFile(path.join(folder, 'everything.yaml'), [...parts, allowEverythingYaml(more)].join('---\n'), {
    mode: 0o600,
  });
}

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

export interface BenchTarget {
  readonly port: number;
  readonly username: string;
  readonly password: string;
}

/**
 * What Sallyport enforces while it is measured: an ordinary policy (named relations, not `*.*`), a masking rule on one column, and
 * the record as it is by default.
 */
export async function writeBenchResources(folder: string, target: BenchTarget): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const resources = `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata:
  name: bench
spec:
  protocol: Postgres
  target: {host: 127.0.0.1, port: ${target.port}, database: bench, tls: {mode: Disable}}
  credential:
    secretRef: {name: bench-db}
---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata:
  name: bench
spec:
  connections: {names: [bench]}
  subjects:
    - serviceAccount: {name: bench}
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read], relations: ["public.*"]}
    - name: tpc-b
      effect: Allow
      sql:
        statements: [Read, Update, Insert]
        relations: [public.pgbench_accounts, public.pgbench_tellers, public.pgbench_branches, public.pgbench_history]
    - name: no-destruction
      effect: Deny
      sql: {statements: [DropTable, DropSchema, DropDatabase, Truncate]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata:
  name: pii
spec:
  connections: {names: [bench]}
  columns:
    - match: ["*.people.email"]
---
apiVersion: v1
kind: Secret
metadata:
  name: bench-db
stringData:
  username: ${target.username}
  password: ${target.password}
`;
  await writeFile(path.join(folder, 'bench.yaml'), resources, { mode: 0o600 });
}

/** The parts that the demonstration runs on: a real server with the shop in it, and Sallyport in front. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Postgres, startPostgres } from '../test/support/postgres.ts';
import { type Gateway, sallyport, startSallyport } from '../test/support/sallyport.ts';

export const REPORTER = 'system:serviceaccount:shop:reporter';
export const BACKUP = 'system:serviceaccount:shop:backup';
export const JANITOR = 'system:serviceaccount:shop:janitor';
/** The person who approves. */
export const APPROVER = 'ada';

export interface Shop extends AsyncDisposable {
  readonly server: Postgres;
  readonly gateway: Gateway;
  /** Where the shop is served through Sallyport. */
  readonly port: number;
  readonly resources: string;
  readonly state: string;
  /** SallyportConfiguration with the approver in it. */
  readonly configuration: string;
  /** Where the approver's key is: what XDG_CONFIG_HOME is for that person. */
  readonly approverHome: string;
}

/** The person makes a key; only its public half goes into the configuration. */
async function writeConfiguration(file: string, home: string): Promise<void> {
  const { status, stdout, stderr } = await sallyport(['approver', 'create', APPROVER, '-o', 'json'], {
    entry: 'dist',
    environment: { XDG_CONFIG_HOME: home },
  });
  if (status !== 0) throw new Error(`sallyport approver create failed (${status}): ${stderr}`);
  const { publicKey } = JSON.parse(stdout) as { publicKey: string };
  await writeFile(
    file,
    `apiVersion: sallyport.dev/v1alpha1
kind: SallyportConfiguration
approvers:
  - name: ${APPROVER}
    publicKey: ${publicKey}
`,
  );
}

async function writeResources(folder: string, port: number, password: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  const template = await readFile(path.join(import.meta.dirname, 'resources', 'shop.yaml'), 'utf8');
  await writeFile(path.join(folder, 'shop.yaml'), template.replace('port: 5432', `port: ${port}`));
  const secret = `apiVersion: v1
kind: Secret
metadata:
  name: shop-db
  namespace: shop
stringData:
  username: shop
  password: ${password}
`;
  await writeFile(path.join(folder, 'secret.yaml'), secret, { mode: 0o600 });
}

/** Everything lives below `folder` or in folders of its own, and is gone when disposed. */
export async function openShop(folder: string): Promise<Shop> {
  await using opening = new AsyncDisposableStack();
  const server = opening.use(await startPostgres({ version: 15 }));
  const password = randomBytes(12).toString('hex');
  await server.sql(`CREATE ROLE shop LOGIN PASSWORD '${password}'`);
  await server.sql('CREATE DATABASE shop');
  await server.sql(await readFile(path.join(import.meta.dirname, 'shop.sql'), 'utf8'), undefined, 'shop');
  const resources = path.join(folder, 'resources');
  const state = path.join(folder, 'state');
  const configuration = path.join(folder, 'sallyport.yaml');
  const approverHome = path.join(folder, 'home-of-ada');
  await writeResources(resources, server.port, password);
  await writeConfiguration(configuration, approverHome);
  const gateway = opening.use(
    await startSallyport({
      resources: [resources],
      state,
      listen: ['shop/shop=127.0.0.1:0'],
      parameters: ['-c', configuration],
      entry: 'dist',
    }),
  );
  const open = opening.move();
  return {
    server,
    gateway,
    port: gateway.connection('shop', 'shop').port,
    resources,
    state,
    configuration,
    approverHome,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

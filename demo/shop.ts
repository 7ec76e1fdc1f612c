/** The parts that the demonstration runs on: a real server with the shop in it, and Sallyport in front. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Postgres, startPostgres } from '../test/support/postgres.ts';
import { type Gateway, startSallyport } from '../test/support/sallyport.ts';

export const REPORTER = 'system:serviceaccount:shop:reporter';
export const BACKUP = 'system:serviceaccount:shop:backup';

export interface Shop extends AsyncDisposable {
  readonly server: Postgres;
  readonly gateway: Gateway;
  /** Where the shop is served through Sallyport. */
  readonly port: number;
  readonly resources: string;
  readonly state: string;
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
  await writeResources(resources, server.port, password);
  const gateway = opening.use(
    await startSallyport({
      resources: [resources],
      state,
      listen: ['shop/shop=127.0.0.1:0'],
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
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

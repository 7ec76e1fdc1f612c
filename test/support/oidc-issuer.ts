import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type net from 'node:net';
import { exportJWK, type JWK } from 'jose';
import Provider, { type Configuration } from 'oidc-provider';

/** A real issuer (the npm package oidc-provider) that gives JWT access tokens for client credentials. */
export interface Issuer {
  readonly issuer: string;
  readonly port: number;
  token(audience?: string): Promise<string>;
  /** From now on, signs with these keys and publishes them. */
  use(keys: readonly JWK[]): void;
  stop(): Promise<void>;
}

export interface IssuerOptions {
  /** Life of its tokens, default 300. */
  readonly tokenSeconds?: number;
  /** What else its tokens say; changes take effect at once. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Certificate and key in one PEM, and the authority that clients trust. Without: plain HTTP. */
  readonly tls?: { readonly pem: string; readonly ca: string };
}

/** A fresh private key, as the issuer publishes its public half. */
export async function signingKey(algorithm: 'ES256' | 'RS256' | 'EdDSA'): Promise<JWK> {
  const make = (): { privateKey: KeyObject } => {
    switch (algorithm) {
      case 'ES256':
        return generateKeyPairSync('ec', { namedCurve: 'P-256' });
      case 'RS256':
        return generateKeyPairSync('rsa', { modulusLength: 2048 });
      case 'EdDSA':
        return generateKeyPairSync('ed25519');
      default:
        return algorithm satisfies never;
    }
  };
  return { ...(await exportJWK(make().privateKey)), alg: algorithm, use: 'sig', kid: randomUUID() };
}

function configuration(keys: readonly JWK[], { tokenSeconds = 300, claims = {} }: IssuerOptions): Configuration {
  const algorithm = keys[0]?.alg as 'ES256' | 'RS256' | 'EdDSA';
  return {
    jwks: { keys: [...keys] } as NonNullable<Configuration['jwks']>,
    clients: [
      {
        client_id: 'nightly-job',
        client_secret: 'a-secret-of-the-issuer',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    enabledJWA: { idTokenSigningAlgValues: [algorithm] },
    clientDefaults: { id_token_signed_response_alg: algorithm },
    ttl: { ClientCredentials: tokenSeconds },
    extraTokenClaims: () => ({ ...claims }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context, resource) => ({
          scope: '',
          audience: resource.replace('urn:', ''),
          accessTokenFormat: 'jwt',
          accessTokenTTL: tokenSeconds,
          jwt: { sign: { alg: algorithm } },
        }),
      },
    },
  };
}

export async function startIssuer(keys: readonly JWK[], options: IssuerOptions = {}): Promise<Issuer> {
  const { tls } = options;
  let answer: http.RequestListener = (_request, response) => response.writeHead(503).end();
  const server = tls
    ? https.createServer({ cert: tls.pem, key: tls.pem }, (request, response) => answer(request, response))
    : http.createServer((request, response) => answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const issuer = `${tls ? 'https' : 'http'}://localhost:${port}`;
  const use = (next: readonly JWK[]): void => {
    const handle = new Provider(issuer, configuration(next, options)).callback();
    answer = (request, response) => void handle(request, response);
  };
  use(keys);
  return {
    issuer,
    port,
    use,
    async token(audience = 'sallyport') {
      const body = new URLSearchParams({ grant_type: 'client_credentials', resource: `urn:${audience}` });
      const authorization = `Basic ${Buffer.from('nightly-job:a-secret-of-the-issuer').toString('base64')}`;
      const request = (tls ? https : http).request(`${issuer}/token`, {
        method: 'POST',
        agent: false,
        headers: { authorization, 'content-type': 'application/x-www-form-urlencoded' },
        ...(tls ? { ca: tls.ca } : {}),
      });
      request.end(body.toString());
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      const answered = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { access_token?: string; error?: string };
      if (answered.access_token === undefined) throw new Error(`the issuer gave no token: ${JSON.stringify(answered)}`);
      return answered.access_token;
    },
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

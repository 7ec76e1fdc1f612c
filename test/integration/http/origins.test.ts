/** Servers that are not ours behind the HTTP lane: what a client sees of them through Sallyport is what it sees directly. */
import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type HttpLaneGround, startHttpLane } from '../../support/http-lane-ground.ts';
import { freePort, listening, type Program, startProgram } from '../../support/program.ts';
import { describeWith, program } from '../../support/requires.ts';
import { findProgram } from '../../support/server-binaries.ts';

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: all, effect: Allow, http: {methods: ["*"], paths: ["/**"]}}
`;
const LARGE = randomBytes(8 << 20);

/** A worker, files, an upload by WebDAV, a redirect, compression and a page of its own for errors. */
const nginx = (folder: string, port: number): string => `
worker_processes 1; daemon off; pid ${folder}/pid; error_log stderr; ${process.getuid?.() === 0 ? 'user root;' : ''}
events {}
http {
  access_log off; client_body_temp_path ${folder}/body; client_max_body_size 64m; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  types { text/plain txt; application/octet-stream bin; } gzip on; gzip_types text/plain; gzip_min_length 1;
  server {
    listen 127.0.0.1:${port}; root ${folder}/files;
    location /up/ { dav_methods PUT DELETE; create_full_put_path on; }
    location = /moved { return 302 /small.txt; }
    location = /teapot { return 418 "short and stout"; }
  }
}`;

/** HTTP/1.0, with bodies that end with the connection, and HTTP/1.1 in chunks. */
const PYTHON = `
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/old":
            self.protocol_version = "HTTP/1.0"
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(b"until the end" * 1000)
            self.close_connection = True
            return
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (b"one", b"two" * 5000, b"three"):
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(part), part))
        self.wfile.write(b"0\\r\\n\\r\\n")
    def do_POST(self):
        self.protocol_version = "HTTP/1.1"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])
    def log_message(self, *args): pass

server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
`;

interface Request {
  readonly method?: string;
  readonly path: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: Buffer;
}

const UPLOADED = '/up/a/b.bin';
const UPLOAD = { method: 'PUT', body: Buffer.from('there') };

const ofNginx: readonly Request[] = [
  { path: '/small.txt' },
  { path: '/small.txt', method: 'HEAD' },
  { path: '/small.txt', headers: { 'accept-encoding': 'gzip' } },
  { path: '/large.bin' },
  { path: '/large.bin', headers: { range: 'bytes=100-1099' } },
  { path: '/large.bin', headers: { range: 'bytes=0-9,20-29' } },
  { path: '/large.bin', headers: { range: 'bytes=99999999-' } },
  { path: '/with%20space%20%C3%A9.txt' },
  { path: '/nobody' },
  { path: '/teapot' },
  { path: '/moved' },
  { path: UPLOADED, method: 'PUT', body: LARGE },
  { path: UPLOADED, method: 'PUT', body: Buffer.alloc(0) },
  { path: UPLOADED, method: 'DELETE' },
  { path: '/small.txt', method: 'POST', body: Buffer.from('not allowed') },
];
const ofPython: readonly Request[] = [
  { path: '/old' },
  { path: '/chunks' },
  { path: '/reverse', method: 'POST', body: LARGE },
  { path: '/reverse', method: 'PUT', body: Buffer.from('unknown there') },
];

describeWith([program('nginx'), program('python3')], 'an origin behind the HTTP lane', () => {
  let folder: string;
  const programs: Program[] = [];
  const ports: Record<string, number> = {};
  const grounds: Record<string, HttpLaneGround> = {};

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-origins-'));
    await chmod(folder, 0o755);
    await mkdir(path.join(folder, 'files', 'up'), { recursive: true });
    await writeFile(path.join(folder, 'files', 'small.txt'), 'small\n'.repeat(200));
    await writeFile(path.join(folder, 'files', 'with space é.txt'), 'found');
    await writeFile(path.join(folder, 'files', 'large.bin'), LARGE);
    const [web, python] = [await freePort(), await freePort()];
    await writeFile(path.join(folder, 'nginx.conf'), nginx(folder, web));
    await writeFile(path.join(folder, 'origin.py'), PYTHON);
    programs.push(
      startProgram(findProgram('nginx') ?? 'nginx', ['-c', path.join(folder, 'nginx.conf'), '-p', folder]),
      startProgram('python3', [path.join(folder, 'origin.py'), String(python)]),
    );
    for (const [name, port] of [
      ['nginx', web],
      ['python', python],
    ] as const) {
      await listening(port);
      ports[name] = port;
      grounds[name] = await startHttpLane({
        resources: { 'policy.yaml': POLICY },
        connections: { api: {} },
        target: { host: '127.0.0.1', port },
      });
    }
  });
  afterAll(async () => {
    for (const ground of Object.values(grounds)) await ground[Symbol.asyncDispose]();
    for (const each of programs) await each.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  test.each([
    ...ofNginx.map((request) => ['nginx', request.method ?? 'GET', request.path, request] as const),
    ...ofPython.map((request) => ['python', request.method ?? 'GET', request.path, request] as const),
  ])('%s: %s %s comes out as it does directly', async (name, _method, _path, request) => {
    const ground = grounds[name];
    if (ground === undefined) throw new Error('it has not started');
    const origin = `http://127.0.0.1:${ports[name]}`;
    // What an upload makes is new once only, and there to be deleted once.
    const before = async (): Promise<unknown> =>
      request.path === UPLOADED &&
      (await ask(origin, { path: UPLOADED, ...(request.method === 'PUT' ? { method: 'DELETE' } : UPLOAD) }));
    await before();
    const direct = await ask(origin, request);
    await before();
    expect(await ask(ground.url('api'), request, await ground.token())).toEqual(direct);
  });
});

interface Said {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly digest: string;
  readonly length: number;
}

/** Fields that say what a body is. Where these are of the connection, or differ from one second to the next, they are left out. */
const KEPT = [
  'content-type',
  'content-length',
  'content-encoding',
  'content-range',
  'accept-ranges',
  'location',
  'last-modified',
  'etag',
  'allow',
];

function ask(
  base: string,
  { method = 'GET', path: target, headers = {}, body }: Request,
  token?: string,
): Promise<Said> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      `${base}${target}`,
      {
        method,
        agent: false,
        headers: {
          ...headers,
          ...(body === undefined ? {} : { 'content-length': body.length }),
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
      },
      (answer) => {
        const hash = createHash('sha256');
        let length = 0;
        answer.on('data', (chunk: Buffer) => {
          length += chunk.length;
          hash.update(chunk);
        });
        answer.once('error', reject);
        answer.once('end', () => {
          const boundary = /boundary=(\S+)/.exec(String(answer.headers['content-type']));
          const kept = Object.fromEntries(KEPT.map((name) => [name, answer.headers[name]]));
          // Every answer in parts has a boundary of its own.
          const said = boundary === null ? hash.digest('hex') : '';
          if (boundary !== null) kept['content-type'] = 'multipart/byteranges';
          kept['location'] = String(kept['location'] ?? '').replace(/^https?:\/\/[^/]+/, '');
          resolve({ status: answer.statusCode ?? 0, headers: kept, digest: said, length });
        });
      },
    );
    request.once('error', reject);
    request.end(body);
  });
}

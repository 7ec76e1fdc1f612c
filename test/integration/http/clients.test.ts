import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Agent, fetch, request } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type HttpLaneGround, startHttpLane } from '../../support/http-lane-ground.ts';
import { sallyportHere } from '../../support/in-process.ts';
import { pythonFolder } from '../../support/python-packages.ts';
import { describeWith, program } from '../../support/requires.ts';
import { sallyport } from '../../support/sallyport.ts';

const run = promisify(execFile);

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: all, effect: Allow, http: {methods: [GET, POST], paths: ["/v1/**"]}}
`;
const PYTHON = `
import os, requests
session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["TOKEN"]
url = os.environ["URL"]
assert session.get(url + "/v1/a", params={"q": "a b"}).json()["url"] == "/v1/a?q=a%20b"
assert session.post(url + "/v1/b", json={"n": 1}).json()["body"] == '{"n": 1}'
assert session.post(url + "/v1/b", data=iter([b"x" * 100000, b"y"])).json()["body"][-1] == "y"
denied = session.delete(url + "/v1/a")
assert denied.status_code == 403 and denied.json()["code"] == "SPE100", denied.text
print("done")
`;
const GO = `package main

import ("bytes"; "crypto/tls"; "crypto/x509"; "encoding/json"; "fmt"; "net/http"; "os")

func main() {
	pem, _ := os.ReadFile(os.Getenv("CA"))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	do := func(method, path, body string) (*http.Response, map[string]any) {
		request, _ := http.NewRequest(method, os.Getenv("URL")+path, bytes.NewBufferString(body))
		request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
		response, err := client.Do(request)
		if err != nil { panic(err) }
		defer response.Body.Close()
		var said map[string]any
		if err := json.NewDecoder(response.Body).Decode(&said); err != nil { panic(err) }
		return response, said
	}
	response, said := do("POST", "/v1/a?q=1", "hello")
	if response.ProtoMajor != 2 || said["body"] != "hello" || said["url"] != "/v1/a?q=1" { panic(fmt.Sprint(response.Proto, said)) }
	response, said = do("DELETE", "/v1/a", "")
	if response.StatusCode != 403 || said["code"] != "SPE100" { panic(fmt.Sprint(said)) }
	fmt.Println("done")
}
`;

describeWith([program('curl')], 'clients as they are', () => {
  let folder = '';
  let g: HttpLaneGround;
  let token = '';
  let ca = '';
  const secure = (): string => g.url().replace('http:', 'https:');
  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-http-clients-'));
    g = await startHttpLane({
      resources: { 'policy.yaml': POLICY },
      connections: { api: {}, other: { target: { host: 'other.example.com', port: 80, tls: { mode: 'Disable' } } } },
    });
    token = await g.token();
    ca = path.join(g.state, 'tls', 'ca.crt');
  });
  afterAll(async () => {
    await g?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const curl = async (...words: string[]): Promise<string> => {
    const { stdout } = await run('curl', ['-sS', '--cacert', ca, '-H', `Authorization: Bearer ${token}`, ...words], {
      maxBuffer: 16 * 1024 * 1024,
    });
    return stdout;
  };

  test('curl: HTTP/1.1 and HTTP/2, by base URL and by host name, large bodies both ways', async () => {
    const said = async (...words: string[]) =>
      JSON.parse(await curl(...words)) as { url: string; body: string; headers: Record<string, string> };
    expect((await said('--http1.1', `${secure()}/v1/a?x=1`)).url).toBe('/v1/a?x=1');
    expect(await curl('--http2', '-o', '/dev/null', '-w', '%{http_version}', `${secure()}/v1/a`)).toBe('2');
    const { port } = new URL(g.url());
    const byName = await said(
      '--connect-to',
      `127.0.0.1:${g.origin.port}:127.0.0.1:${port}`,
      `https://127.0.0.1:${g.origin.port}/v1/b`,
    );
    expect(byName.headers['host']).toBe(`127.0.0.1:${g.origin.port}`);
    // Whatever host a client names, the target hears its own name.
    const lied = await said('-H', 'Host: internal.example', `${secure()}/v1/b`);
    expect(lied.headers['host']).toBe(`127.0.0.1:${g.origin.port}`);
    const file = path.join(folder, 'large');
    await writeFile(file, 'x'.repeat(3_000_000));
    expect((await said('-T', file, '-X', 'POST', '-H', 'Expect: 100-continue', `${secure()}/v1/up`)).body).toHaveLength(
      3_000_000,
    );
  });

  test('curl as connect opens it, and what connect prints for others', async () => {
    const parameters = ['connect', 'default/api', '--state', g.state, '--as', 'system:serviceaccount:default:agent'];
    const opened = await sallyport([...parameters, '--', '-sS', '/v1/from-connect']);
    expect(opened.stderr).toBe('');
    expect(JSON.parse(opened.stdout)).toMatchObject({ method: 'GET', url: '/v1/from-connect' });
    const { url, token: printed } = JSON.parse((await sallyportHere([...parameters, '-o', 'json'])).stdout) as {
      url: string;
      token: string;
    };
    const answer = await fetch(`${url}/v1/json`, { headers: { authorization: `Bearer ${printed}` } });
    expect(await answer.json()).toMatchObject({ url: '/v1/json' });
    const file = path.join(folder, 'curlrc');
    await writeFile(file, (await sallyportHere([...parameters, '-o', 'config'])).stdout, { mode: 0o600 });
    expect(JSON.parse((await run('curl', ['-sS', '-K', file, `${url}/v1/config`])).stdout)).toMatchObject({
      url: '/v1/config',
    });
  });

  test('undici, with HTTP/2 where it is asked for', async () => {
    const dispatcher = new Agent({ allowH2: true, connect: { ca: await readFile(ca) } });
    const headers = { authorization: `Bearer ${token}` };
    const streams = Array.from({ length: 20 }, async (_, index) => {
      const { body } = await request(`${secure()}/v1/${index}`, { dispatcher, headers });
      return ((await body.json()) as { url: string }).url;
    });
    expect(await Promise.all(streams)).toEqual(Array.from({ length: 20 }, (_, index) => `/v1/${index}`));
    await dispatcher.close();
  });

  test('requests of Python', async () => {
    const { stdout } = await run('python3', ['-c', PYTHON], {
      env: { ...process.env, PYTHONPATH: await pythonFolder(['requests==2.32.5']), URL: g.url(), TOKEN: token },
    });
    expect(stdout.trim()).toBe('done');
  });
});

describeWith([program('go', 'golang-go')], 'a client of Go', () => {
  test('by HTTP/2', async () => {
    await using g = await startHttpLane({ resources: { 'policy.yaml': POLICY }, connections: { api: {} } });
    const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-http-go-'));
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'main.go'), GO);
    const { stdout } = await run('go', ['run', 'main.go'], {
      cwd: folder,
      env: {
        ...process.env,
        CGO_ENABLED: '0',
        URL: g.url().replace('http:', 'https:'),
        TOKEN: await g.token(),
        CA: path.join(g.state, 'tls', 'ca.crt'),
      },
    });
    expect(stdout.trim()).toBe('done');
    await rm(folder, { recursive: true, force: true });
  });
});

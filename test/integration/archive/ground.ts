/** An archive as users run it, with certificates for it and for proxies. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ReportedFinding } from '../../../archive/store/findings.ts';
import { createHttpClient } from '../../../delivery/http.ts';
import { type CertificateAuthority, createAuthority, type IssuedCertificate } from '../../support/certificates.ts';
import { freePort, type Program, startProgram } from '../../support/program.ts';
import { entryFile } from '../../support/sallyport.ts';

export interface ArchiveGround extends AsyncDisposable {
  readonly folder: string;
  readonly authority: CertificateAuthority;
  /** The archive's folder. */
  readonly directory: string;
  readonly url: string;
  /** Starts the archive, on the same address each time. */
  start(): Promise<Program>;
  findings(): Promise<ReportedFinding[]>;
  /** Posts bytes as a proxy would. */
  post(certificate: IssuedCertificate, target: string, body: string): Promise<{ status: number; code: string }>;
}

/** @param server further members of `archiveServer` */
export async function archiveGround(
  server: Readonly<Record<string, unknown>> = {},
  directory?: string,
): Promise<ArchiveGround> {
  const folder = await mkdtemp(path.join(tmpdir(), 'archive-'));
  const authority = await createAuthority(folder);
  const certificate = await authority.issue('archive', ['IP:127.0.0.1']);
  const port = await freePort();
  const kept = directory ?? path.join(folder, 'kept');
  const configuration = path.join(folder, 'archive.yaml');
  await mkdir(kept, { recursive: true });
  await writeFile(
    configuration,
    JSON.stringify({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'SallyportConfiguration',
      archiveServer: {
        address: `127.0.0.1:${port}`,
        directory: kept,
        certificateFile: certificate.certificatePath,
        keyFile: certificate.keyPath,
        clientCaFile: authority.caPath,
        ...server,
      },
    }),
  );
  const running = new Set<Program>();
  const url = `https://127.0.0.1:${port}`;
  return {
    folder,
    authority,
    directory: kept,
    url,
    async start() {
      const program = startProgram(process.execPath, [entryFile('source'), 'archive', 'run', '-c', configuration]);
      running.add(program);
      await program.printed('ready\n');
      return program;
    },
    async findings() {
      const file = path.join(kept, 'findings.jsonl');
      if (!existsSync(file)) return [];
      const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
      return lines.map((line) => JSON.parse(line) as ReportedFinding);
    },
    async post(client, target, body) {
      const http = createHttpClient({ ca: authority.ca, certificate: client.certificate, key: client.key });
      try {
        const answer = await http.send(
          {
            method: 'POST',
            url: new URL(target, url),
            headers: { 'content-type': 'application/jsonl' },
            body: Buffer.from(body, 'utf8'),
            timeoutMs: 10_000,
            maxAnswerBytes: 4096,
          },
          new AbortController().signal,
        );
        const { code = '' } = JSON.parse(answer.body.toString('utf8')) as { code?: string };
        return { status: answer.status, code };
      } finally {
        http.close();
      }
    },
    async [Symbol.asyncDispose]() {
      for (const program of running) await program.stop('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** h2spec against the lane: everything of it but what Node's HTTP/2 does in its own way, with or without us. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { anyGo, goProgram } from '../../support/go-programs.ts';
import { startHttpGround } from '../../support/http-ground.ts';
import { describeWith } from '../../support/requires.ts';

const run = promisify(execFile);

/** A server that does nothing but `http2.createServer` has the same list, but for the first line. */
const KNOWN = [
  // What does not begin as HTTP/2 is served as HTTP/1.1: with 400, and then the connection is closed.
  'Sends invalid connection preface',
  // nghttp2 lets frames of closed streams pass for a while, as RFC 9113 (section 5.1) allows.
  'closed: Sends a DATA frame after sending RST_STREAM frame',
  'closed: Sends a HEADERS frame after sending RST_STREAM frame',
  'closed: Sends a DATA frame',
  'closed: Sends a HEADERS frame',
  // These are such where the answer was out before the frame came, which ended the stream.
  'half closed (remote): Sends a DATA frame',
  'half closed (remote): Sends a HEADERS frame',
  'Sends a DATA frame on the stream that is not in &#34;open&#34; or &#34;half-closed (local)&#34; state',
  'Sends stream identifier that is numerically smaller than previous',
  // Priorities are no part of HTTP/2 any more (RFC 9113, section 5.3): nghttp2 reads past them.
  'Sends PRIORITY frame that depend on itself',
  'Sends a PRIORITY frame with 0x0 stream identifier',
  // Node ends the connection, which is stricter.
  'Sends a PING frame with ACK',
  'Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream',
];

const CASE = /<testcase package="[^"]*" classname="([^"]*)"[^>]*>\s*<(failure|error)/g;

describeWith([anyGo], 'HTTP/2 of clients', () => {
  it('passes h2spec', { timeout: 120_000 }, async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-h2spec-'));
    try {
      await using ground = await startHttpGround();
      const program = await goProgram(path.join(import.meta.dirname, 'h2spec'));
      const report = path.join(folder, 'report.xml');
      await run(program, [String(ground.port), report], { maxBuffer: 1 << 26 });
      const xml = await readFile(report, 'utf8');
      expect(xml.match(/<testcase/g)?.length).toBeGreaterThan(140);
      expect([...xml.matchAll(CASE)].map(([, name]) => name).filter((name) => !KNOWN.includes(name ?? ''))).toEqual([]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

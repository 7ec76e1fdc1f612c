/**
 * A receiver of webhooks in a process of its own. It verifies with somebody else's implementation of Standard Webhooks and prints a line of
 * JSON for each request. Arguments: port, secret, status to answer with (default 204).
 */
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const [, , port = '0', secret = '', status = '204'] = process.argv;
const verifier = new Webhook(secret);

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString('utf8');
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    let verified = true;
    try {
      // It parses JSON after it has verified; lines of the record are not one document, and fail there and not before.
      verifier.verify(body, headers);
    } catch (error) {
      verified = error instanceof SyntaxError;
    }
    process.stdout.write(
      `${JSON.stringify({ verified, id: headers['webhook-id'], type: headers['content-type'], url: request.url, body })}\n`,
    );
    const answer = Number(status);
    response.writeHead(verified ? answer : 401, answer >= 300 && answer < 400 ? { location: '/elsewhere' } : {}).end();
  });
});
server.listen(Number(port), '127.0.0.1', () => process.stdout.write('{"listening":true}\n'));

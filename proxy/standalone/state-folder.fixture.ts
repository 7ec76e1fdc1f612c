/** A process that holds a state folder until it is killed. Prints `held` or the code of the error. */
import { openStateFolder } from './state-folder.ts';

try {
  await openStateFolder(process.argv[2] ?? '', process.pid);
  process.stdout.write('held\n');
  setInterval(() => {}, 60_000);
} catch (error) {
  process.stdout.write(`${error instanceof Error && 'code' in error ? String(error.code) : String(error)}\n`);
}

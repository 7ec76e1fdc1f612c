import { readFileSync, statSync } from './builtin.ts';
import { ConnectorError, reasonOf } from './errors.ts';

/** A small file that the kubelet replaces now and then (a projected volume: the path leads through a link that is switched). */
export interface WatchedFile {
  /** As it is now; read again only when it changed. @throws ConnectorError SPN002 */
  read(): string;
}

const LIMIT = 1024 * 1024;

export function watchFile(path: string): WatchedFile {
  let seen: string | undefined;
  let content = '';
  return {
    read() {
      try {
        const { ino, mtimeMs, size } = statSync(path);
        const version = `${ino} ${mtimeMs} ${size}`;
        if (version === seen) return content;
        if (size > LIMIT) throw new Error(`it has ${size} bytes`);
        const text = readFileSync(path, 'utf8').trim();
        if (text === '') throw new Error('it is empty');
        content = text;
        seen = version;
        return content;
      } catch (error) {
        throw new ConnectorError('SPN002', [path, reasonOf(error)], error);
      }
    },
  };
}

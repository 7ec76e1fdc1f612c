import type { ApprovalRequest } from '../../api/resources.ts';

/** Requests as they were parsed, for as long as their files are the same: a thousand that wait are looked at often. */
export interface ParsedCache {
  get(file: string, stamp: string): ApprovalRequest | undefined;
  /** @param size characters of the file */
  put(file: string, stamp: string, request: ApprovalRequest, size: number): void;
}

const MAX_CHARACTERS = 16_777_216;

export function createParsedCache(): ParsedCache {
  const entries = new Map<
    string,
    { readonly stamp: string; readonly request: ApprovalRequest; readonly size: number }
  >();
  let total = 0;

  function drop(file: string): void {
    total -= entries.get(file)?.size ?? 0;
    entries.delete(file);
  }

  return {
    get(file, stamp) {
      const found = entries.get(file);
      return found?.stamp === stamp ? found.request : undefined;
    },
    put(file, stamp, request, size) {
      drop(file);
      entries.set(file, { stamp, request, size });
      total += size;
      // The oldest first: a Map keeps the order in which it was filled.
      for (const oldest of entries.keys()) {
        if (total <= MAX_CHARACTERS) break;
        drop(oldest);
      }
    },
  };
}

/** Memory for bodies of requests that are held whole, such as while they are decided or while people decide, over all clients of a lane. */
export interface BodyBudget {
  /** False: there is no room for so many bytes more, and nothing was taken. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

/** @param limit in bytes */
export function createBodyBudget(limit: number): BodyBudget {
  let taken = 0;
  return {
    take(bytes) {
      if (taken + bytes > limit) return false;
      taken += bytes;
      return true;
    },
    give(bytes) {
      taken -= bytes;
    },
  };
}

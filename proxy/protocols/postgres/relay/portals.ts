import type { Portal } from './replies.ts';

/**
 * The portals of a session by their names. Nearly every command binds the unnamed one and no other: it has a place of its own, since a Map that
 * gets and loses its only entry with each command is made anew all the time.
 */
export class Portals {
  #unnamed: Portal | undefined;
  readonly #named = new Map<string, Portal>();

  get size(): number {
    return this.#named.size + (this.#unnamed === undefined ? 0 : 1);
  }

  get(name: string): Portal | undefined {
    return name === '' ? this.#unnamed : this.#named.get(name);
  }

  set(name: string, portal: Portal): void {
    if (name === '') this.#unnamed = portal;
    else this.#named.set(name, portal);
  }

  delete(name: string): void {
    if (name === '') this.#unnamed = undefined;
    else if (this.#named.size > 0) this.#named.delete(name);
  }

  clear(): void {
    this.#unnamed = undefined;
    this.#named.clear();
  }

  values(): readonly Portal[] {
    const named = [...this.#named.values()];
    return this.#unnamed === undefined ? named : [this.#unnamed, ...named];
  }

  /** A transaction has ended. Those that the server has not confirmed are of a later pipeline, and live on. */
  dropConfirmed(): void {
    if (this.#unnamed?.confirmed === true) this.#unnamed = undefined;
    if (this.#named.size === 0) return;
    for (const [name, portal] of this.#named) if (portal.confirmed) this.#named.delete(name);
  }
}

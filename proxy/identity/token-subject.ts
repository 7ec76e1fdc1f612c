import type { Subject } from '../../policy/subject.ts';
import { identityError, quoted } from './errors.ts';

export type Claims = Readonly<Record<string, unknown>>;

/** Names of the claims that say who it is. */
export interface ClaimNames {
  /** Default `sub`. */
  readonly username?: string;
  /** No groups when absent. */
  readonly groups?: string;
  /** Nobody when absent. */
  readonly onBehalfOf?: string;
}

const MAX_NAME = 256;
const MAX_GROUPS = 512;

/** Control characters, and what moves or hides text on a terminal: a name is shown to people who decide. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

function own(claims: Claims, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

function nameIn(value: unknown, claim: string, alias: string): string {
  if (typeof value !== 'string' || value === '') throw identityError('SPI013', [quoted(claim), 'not a name']);
  if (value.length > MAX_NAME || UNPRINTABLE.test(value))
    throw identityError('SPI013', [quoted(claim), 'too long, or not printable']);
  if (value.toLowerCase().startsWith('system:')) throw identityError('SPI014', [alias, quoted(value)]);
  return `${alias}:${value}`;
}

/**
 * The subject that verified claims of an outside issuer name. Every name gets the issuer's alias in front, so that no issuer can
 * speak for another or for Kubernetes.
 * @throws IdentityError SPI013, SPI014
 */
export function subjectOfClaims(claims: Claims, alias: string, names: ClaimNames): Subject {
  const usernameClaim = names.username ?? 'sub';
  const username = nameIn(own(claims, usernameClaim), usernameClaim, alias);
  const groups: string[] = [];
  if (names.groups !== undefined) {
    const value = own(claims, names.groups);
    const list: unknown[] = value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
    if (list.length > MAX_GROUPS)
      throw identityError('SPI013', [quoted(names.groups), `longer than ${MAX_GROUPS} groups`]);
    for (const group of list) groups.push(nameIn(group, names.groups, alias));
  }
  const person = names.onBehalfOf === undefined ? undefined : own(claims, names.onBehalfOf);
  return {
    username,
    issuer: alias,
    groups,
    claims,
    ...(person === undefined || person === null ? {} : { onBehalfOf: nameIn(person, names.onBehalfOf ?? '', alias) }),
  };
}

import { expect, it } from 'vitest';
import { createMcpSessions } from './sessions.ts';

it('is whoever had a session first', () => {
  const sessions = createMcpSessions();
  expect(sessions.given('a/tools', 'ada', '1')).toBe(true);
  expect(sessions.admits('a/tools', 'ada', '1')).toBe(true);
  expect(sessions.admits('a/tools', 'ben', '1')).toBe(false);
  expect(sessions.given('a/tools', 'ben', '1')).toBe(false);
  // Another server may give the same.
  expect(sessions.given('b/tools', 'ben', '1')).toBe(true);
  // Nobody knows it: it may have been given by another replica.
  expect(sessions.admits('a/tools', 'ben', '2')).toBe(true);
  expect(sessions.admits('a/tools', 'ada', '2')).toBe(false);
});

it('forgets for a subject its own sessions alone', () => {
  const sessions = createMcpSessions(2);
  sessions.given('a/tools', 'ada', 'kept');
  for (const id of ['1', '2', '3']) sessions.given('a/tools', 'ben', id);
  expect(sessions.admits('a/tools', 'ben', 'kept')).toBe(false);
  expect(sessions.admits('a/tools', 'ada', '1')).toBe(true);
  expect(sessions.admits('a/tools', 'ada', '3')).toBe(false);
});

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { neutralise, safeJson } from './display.ts';

it('shows escapes, line feeds and directions as text', () => {
  expect(neutralise('a\u001b[2Jb\nc\u202ed\u009b31m')).toBe('a\\u001b[2Jb\\nc\\u202ed\\u009b31m');
});

it('leaves ordinary text alone', () => {
  expect(neutralise("SELECT 'Zürich 東京 😀'")).toBe("SELECT 'Zürich 東京 😀'");
});

it('shows invisible tag characters and lone surrogates', () => {
  expect(neutralise('a\u{e0041}\ud800')).toBe('a\\udb40\\udc41\\ud800');
});

it('keeps the value of JSON and lets nothing through that acts on a terminal', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const json = safeJson({ text });
      expect(JSON.parse(json)).toEqual({ text });
      expect(json).toMatch(/^[^\p{Cc}\u200b-\u200f\u202a-\u202e\u2066-\u2069]*$/u);
    }),
  );
});

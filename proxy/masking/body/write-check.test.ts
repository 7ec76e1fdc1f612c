import { describe, expect, it } from 'vitest';
import { compileMask, planMasks } from '../../../policy/mask-plan.ts';
import { mask } from '../../../policy/testing/build.ts';
import { createWriteCheck } from './write-check.ts';

const plan = planMasks([
  compileMask(
    mask('web', {
      fields: [{ match: ['**.password'] }, { match: ['user.id'], transform: { tokenize: {} } }],
      content: [{ detectors: ['Email'], transform: { redact: { with: '[mail]' } } }],
    }),
  ),
]);
const check = createWriteCheck(plan, () => Buffer.from('key'));
const TOKEN = `sptok_${'a'.repeat(26)}`;
const whole = (body: string, type: string | undefined = 'application/json') =>
  check.whole(Buffer.from(body), type)?.code;

describe('what is written', () => {
  it('holds no token, in whatever form', () => {
    expect(whole(`{"a":"${TOKEN}"}`)).toBe('SPM012');
    expect(whole(`{"a":"x \\u0073${TOKEN.slice(1)} y"}`)).toBe('SPM012');
    expect(whole(`{"a":"${Buffer.from(TOKEN).toString('base64')}"}`)).toBe('SPM012');
    expect(whole(JSON.stringify({ a: JSON.stringify({ b: `x${TOKEN}` }) }).replace('sptok', '\\u0073ptok'))).toBe(
      'SPM012',
    );
    expect(whole(`a=1&b=${TOKEN.replace('_', '%5F')}`, 'application/x-www-form-urlencoded')).toBe('SPM012');
    expect(whole(`<a>${TOKEN.toUpperCase()}</a>`, 'application/xml')).toBe('SPM012');
    expect(whole(`{broken ${TOKEN}`)).toBe('SPM012');
    expect(check.text(`/users/${TOKEN}`)?.code).toBe('SPM012');
    expect(check.text(`/users?id=${TOKEN.replace('_', '%5f')}`)?.code).toBe('SPM012');
    expect(check.text('/users/1')).toBeUndefined();
  });

  it('holds no mark of a masked value in its place', () => {
    expect(whole('{"a":{"password":"***"}}')).toBe('SPM012');
    expect(whole('{"a":"***"}')).toBeUndefined();
    expect(whole('{"a":"[mail]"}')).toBe('SPM012');
    expect(whole('password=***', 'application/x-www-form-urlencoded')).toBe('SPM012');
    expect(whole('{"a":{"password":"real"},"user":{"id":"u1"}} ')).toBeUndefined();
    expect(whole('{broken', undefined)).toBeUndefined();
  });

  it('is found wherever a stream is cut', () => {
    const body = Buffer.from(`{"a":1,"b":"x${TOKEN}"}`);
    for (let cut = 1; cut < body.length; cut++) {
      const stream = check.stream('text/plain');
      expect(() => {
        expect(stream.write(body.subarray(0, cut))).toEqual(body.subarray(0, cut));
        stream.write(body.subarray(cut));
      }).toThrow('came from masking');
    }
  });
});

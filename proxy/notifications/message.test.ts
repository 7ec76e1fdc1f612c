import { expect, test } from 'vitest';
import type { ApprovalRequest } from '../../api/resources.ts';
import { notification } from './message.ts';

function summaryOf(effects: string[]): string {
  const request: ApprovalRequest = {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ApprovalRequest',
    metadata: { name: 'orders-0123456789ab', namespace: 'shop', uid: 'u' },
    spec: {
      connectionRef: { name: 'orders' },
      requester: { username: 'agent', displayName: 'agent' },
      requirements: [],
      request: { protocol: 'Postgres', summary: 's', hash: `sha256:${'0'.repeat(64)}`, effects },
      expiresAt: '2026-03-01T10:26:12Z',
    },
  };
  const { body } = notification(request, 'requested', 'Created', 0, false);
  return (JSON.parse(body.toString()) as { data: { summary: string } }).data.summary;
}

test('a name that an agent made up does not reach a chat', () => {
  const names = [
    'public.approve at https://evil.example/x',
    'public.<!channel>',
    'public.a\nb',
    'public.evil.example',
    'public.*bold* [link](x)',
  ];
  for (const name of names) {
    expect(summaryOf([`CreateTable on ${name}`])).toBe('CreateTable on an object with an unusual name');
    expect(summaryOf([`Call of ${name}`])).toBe('Call of an object with an unusual name');
  }
  const plain = ['Delete on public.orders', 'Insert on shop.Bestellungen_2026$', 'Truncate', 'Call of public.größe'];
  expect(summaryOf(plain)).toBe(plain.join('; '));
});

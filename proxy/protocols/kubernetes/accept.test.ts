import { expect, test } from 'vitest';
import { acceptJson } from './accept.ts';

test.each([
  [undefined, 'application/json'],
  ['', 'application/json'],
  ['*/*', 'application/json'],
  ['application/vnd.kubernetes.protobuf,application/json', 'application/json'],
  ['application/yaml', 'application/json'],
  [
    'application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json',
    'application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json',
  ],
  [
    'application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json;q=0.1',
    'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json',
  ],
  ['application/json;stream=watch;q=0.5', 'application/json'],
])('%s is asked for as %s', (accept, asked) => {
  expect(acceptJson(accept)).toBe(asked);
});

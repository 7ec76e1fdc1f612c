import { readFile } from 'node:fs/promises';
import type { SinkConfiguration } from '../../api/configuration-outgoing.ts';
import { causeOf } from '../../delivery/errors.ts';
import { deliverableUrl } from '../../delivery/http.ts';
import { ArchiveError } from '../errors.ts';
import type { Destination } from '../follow/destination.ts';
import { type OtlpObserver, otlpSink } from './otlp.ts';
import { s3Sink } from './s3.ts';
import { webhookSink } from './webhook.ts';

/** The sink of a configuration. @throws ArchiveError SPH014, DeliveryError SPD004 */
export async function configuredSink(
  sink: SinkConfiguration,
  version: string,
  observer: OtlpObserver,
): Promise<Destination> {
  const ca = sink.caFile === undefined ? undefined : await readConfigured(sink.caFile);
  switch (sink.type) {
    case 's3':
      return s3Sink(sink.name, { ...sink, endpoint: deliverableUrl(sink.endpoint) }, ca);
    case 'otlp':
      return otlpSink(
        sink.name,
        { url: deliverableUrl(sink.url), headersFile: sink.headersFile, version },
        ca,
        observer,
      );
    case 'webhook':
      return webhookSink(sink.name, { url: deliverableUrl(sink.url), secretFile: sink.secretFile }, ca);
    default:
      return unreachable(sink);
  }
}

/** @throws ArchiveError SPH014 */
export async function readConfigured(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new ArchiveError('SPH014', [file, causeOf(error)], error);
  }
}

function unreachable(value: never): never {
  throw new TypeError(`unexpected ${String(value)}`);
}

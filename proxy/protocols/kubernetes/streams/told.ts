import { neutralise } from '../../../../record/display.ts';
import { reportOf } from '../../http/core/errors.ts';
import type { KubernetesReport } from '../errors.ts';
import { ofHttp } from '../http-report.ts';
import { refusalOf, statusOf } from '../status.ts';
import type { StreamCall } from './port.ts';

/** How clients of streams read what we say. */

const POD = { group: '', kind: 'pods' };

/** Why an exchange was ended from outside, as its client is told. */
export const endOf = ({ reason }: AbortSignal): KubernetesReport => ofHttp(reportOf(reason));

export function statusBytes(report: KubernetesReport, { session, pod }: StreamCall): Buffer {
  return Buffer.from(JSON.stringify(statusOf(report, session.id, { ...POD, name: pod })));
}

/** A plain answer, which every client shows that has not been upgraded. */
export async function answerRefusal(report: KubernetesReport, { exchange, session, pod }: StreamCall): Promise<void> {
  const { status, headers, body } = refusalOf(report, session.id, { ...POD, name: pod });
  await exchange.answer(status, headers.flat(), body);
}

/** Lines for stderr, or for a terminal, where lines have to begin on the left. */
export function lines(text: string, terminal: boolean): Buffer {
  const safe = text
    .split('\n')
    .map((line) => neutralise(line))
    .join('\n');
  return Buffer.from(terminal ? safe.replaceAll('\n', '\r\n') : safe);
}

/** The same as a Status says, for a client whose library shows what a command wrote, and no Status. */
export function reportLines({ code, message, detail = '', hint }: KubernetesReport, session: string): string {
  return [message, detail, hint, `${code}, session ${session}`]
    .filter((line) => line !== '')
    .map((line) => `sallyport: ${line}\n`)
    .join('');
}

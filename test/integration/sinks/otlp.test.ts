import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, expect, it, vi } from 'vitest';
import { anyGo, goProgram } from '../../support/go-programs.ts';
import { freePort, listening, startProgram } from '../../support/program.ts';
import { describeWith } from '../../support/requires.ts';
import { appendCommands } from '../../support/segments.ts';
import { sinkGround } from './ground.ts';

const ARRIVAL = { timeout: 30_000, interval: 50 };

describeWith([anyGo], 'the OTLP sink, against a real OpenTelemetry Collector', () => {
  let program = '';
  beforeAll(async () => {
    program = await goProgram(path.join(import.meta.dirname, 'otelcol'));
  }, 600_000);

  it('brings every event with its time, severity, name and the line itself', async () => {
    await using ground = await sinkGround();
    const port = await freePort();
    const configuration = path.join(ground.folder, 'otelcol.yaml');
    await writeFile(
      configuration,
      JSON.stringify({
        receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
        exporters: { debug: { verbosity: 'detailed', use_internal_logger: false } },
        service: {
          telemetry: { metrics: { level: 'none' } },
          pipelines: { logs: { receivers: ['otlp'], exporters: ['debug'] } },
        },
      }),
    );
    const url = `http://127.0.0.1:${port}/v1/logs`;
    const stream = ground.recorder.stream('shop', 'db');
    appendCommands(stream, 3, 'SELECT \'ü "quoted"\'');
    stream.append('command.denied', '"session":"session-1","seq":4,"code":"42501","rules":[]');
    stream.flush();
    const following = await ground.follow({
      sinks: [{ type: 'otlp', name: 'siem', caFile: undefined, url, headersFile: undefined }],
    });
    // Nobody is there yet.
    await vi.waitFor(async () => {
      expect(await following.metric('sallyport_sink_failures_total', { sink: 'siem' })).toBeGreaterThan(1);
    }, ARRIVAL);
    await using collector = startProgram(program, ['--config', `file:${configuration}`]);
    await listening(port);
    await vi.waitFor(async () => {
      expect(await following.metric('sallyport_sink_lag_bytes', { sink: 'siem' })).toBe(0);
    }, ARRIVAL);
    await collector.printed('sallyport.command.denied');
    await following.stop();
    await collector.stop();
    const output = collector.output();
    expect(output.match(/EventName: sallyport\.command\.received/g)).toHaveLength(3);
    expect(output).toMatch(
      /SeverityText: WARN[\s\S]*?sallyport\.command\.denied|sallyport\.command\.denied[\s\S]*?SeverityText: WARN/,
    );
    expect(output).toContain('-> sallyport.connection: Str(shop/db)');
    expect(output).toContain('-> sallyport.seq: Int(4)');
    expect(output).toContain('-> sallyport.code: Str(42501)');
    expect(output).toContain(`-> service.name: Str(sallyport)`);
    expect(output).toMatch(/Body: Str\(\{"v":1,"n":\d+,"t":"[^"]+","e":"command\.received".*SELECT 'ü \\"quoted\\"'/);
    expect(output).toMatch(new RegExp(`Timestamp: ${new Date().toISOString().slice(0, 10)} `));
    expect(await following.metric('sallyport_sink_rejected_records_total', { sink: 'siem' })).toBeUndefined();
  }, 120_000);
});

import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { RecordStream } from '../../record/port.ts';
import { createTurn, type TurnParticipant } from './turn.ts';

/** What happened, in order. */
let log: string[] = [];

function stream(name: string, flush: () => void = () => {}): RecordStream {
  return {
    append: () => 0,
    flush() {
      log.push(`write ${name}`);
      flush();
    },
    sync: () => Promise.resolve(),
  };
}

function participant(name: string, recorded: RecordStream, forward: () => void = () => {}): TurnParticipant {
  return {
    stream: recorded,
    needsSync: false,
    hold() {
      log.push(`hold ${name}`);
    },
    forward() {
      log.push(`forward ${name}`);
      forward();
    },
    recordFailed(error) {
      log.push(`${name} refused: ${error.message}`);
    },
  };
}

async function ofOneTurn(...participants: readonly TurnParticipant[]): Promise<readonly string[]> {
  log = [];
  const turn = createTurn();
  for (const each of participants) turn.schedule(each);
  await nextTurn();
  return log;
}

test('a stream is written once in a turn, before anybody of it is forwarded', async () => {
  const [a, b] = [stream('A'), stream('B')];
  const order = await ofOneTurn(participant('1', a), participant('2', b), participant('3', a), participant('4', b));
  expect(order).toEqual(['write A', 'forward 1', 'write B', 'forward 2', 'forward 3', 'forward 4']);
});

test('a stream that cannot be written refuses its own participants, and only those', async () => {
  const broken = stream('broken', () => {
    throw new Error('disk full');
  });
  const order = await ofOneTurn(
    participant('1', broken),
    participant('2', stream('A')),
    participant('3', broken),
    participant(
      '4',
      stream('other', () => broken.flush()),
    ),
    participant('5', broken),
  );
  expect(order.filter((line) => line.startsWith('forward'))).toEqual(['forward 2']);
  expect(order.filter((line) => line.includes('refused'))).toEqual(
    ['1', '3', '4', '5'].map((name) => `${name} refused: disk full`),
  );
});

test('what is scheduled while a turn forwards is written again in the next one', async () => {
  log = [];
  const turn = createTurn();
  const a = stream('A');
  const later = participant('2', a);
  turn.schedule(participant('1', a, () => turn.schedule(later)));
  await nextTurn();
  await nextTurn();
  expect(log).toEqual(['write A', 'forward 1', 'write A', 'forward 2']);
});

/** A stream whose sync ends when the test says so. */
function slowStream(name: string) {
  const synced = Promise.withResolvers<void>();
  const recorded: RecordStream = {
    ...stream(name),
    sync() {
      log.push(`sync ${name}`);
      return synced.promise;
    },
  };
  return { recorded, synced };
}

test('what must be on disk is forwarded once it is there, and holds nobody else of its turn up', async () => {
  const { recorded, synced } = slowStream('A');
  const writing = { ...participant('1', recorded), needsSync: true };
  const order = await ofOneTurn(writing, participant('2', recorded), participant('3', stream('B')));
  const before = ['write A', 'hold 1', 'sync A', 'forward 2', 'write B', 'forward 3'];
  expect(order).toEqual(before);
  synced.resolve();
  await nextTurn();
  expect(log).toEqual([...before, 'forward 1']);
});

test('what could not be brought to the disk is refused, and not forwarded', async () => {
  const { recorded, synced } = slowStream('A');
  const writing = ['1', '2'].map((name) => ({ ...participant(name, recorded), needsSync: true }));
  await ofOneTurn(...writing);
  synced.reject(new Error('disk broken'));
  await nextTurn();
  expect(log.slice(-2)).toEqual(['1 refused: disk broken', '2 refused: disk broken']);
});

import { type CelFunc, CelScalar, celMethod, objectType } from '@bufbuild/cel';
import { type Timestamp, TimestampSchema, timestampDate } from '@bufbuild/protobuf/wkt';

/**
 * The timestamp functions of CEL (cel-spec, langdef, "Timezones"), replacing those of the library: it computes through the local
 * time zone of the process, so that an hour is shifted when that zone skips one, and it builds a formatter for each call.
 */

const TIMESTAMP = objectType(TimestampSchema);
const DAY_MS = 86_400_000;
const FIXED_OFFSET = /^([+-]?)([01][0-9]|2[0-3]):([0-5][0-9])$/;

const formatters = new Map<string, Intl.DateTimeFormat>();
/** Zones come from policies; past this many something is wrong and nothing more is remembered. */
const MAX_FORMATTERS = 600;

function formatter(zone: string): Intl.DateTimeFormat {
  const known = formatters.get(zone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    era: 'narrow',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
  if (formatters.size < MAX_FORMATTERS) formatters.set(zone, made);
  return made;
}

/** True for an IANA zone such as `Europe/Berlin`, for `UTC`, and for an offset such as `+02:00`. */
export function isTimeZone(zone: string): boolean {
  if (FIXED_OFFSET.test(zone)) return true;
  try {
    formatter(zone);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** The wall clock in `zone` as a Date whose UTC fields are that clock's. @throws RangeError for an unknown zone. */
export function wallClock(instant: Date, zone: string | undefined): Date {
  if (zone === undefined || zone === 'UTC') return instant;
  const fixed = FIXED_OFFSET.exec(zone);
  if (fixed !== null) {
    const minutes = Number(fixed[2]) * 60 + Number(fixed[3]);
    return new Date(instant.getTime() + (fixed[1] === '-' ? -minutes : minutes) * 60_000);
  }
  const fields: Record<string, number> = {};
  let beforeChrist = false;
  for (const part of formatter(zone).formatToParts(instant)) {
    if (part.type === 'era') beforeChrist = part.value === 'B';
    else fields[part.type] = Number(part.value);
  }
  const { year = Number.NaN, month = Number.NaN, day, hour, minute, second } = fields;
  const clock = new Date(0);
  // setUTCFullYear, because Date.UTC reads the years 0 to 99 as 1900 to 1999.
  clock.setUTCFullYear(beforeChrist ? 1 - year : year, month - 1, day);
  // Zones are offset by whole seconds, so the milliseconds are the instant's own.
  clock.setUTCHours(hour ?? Number.NaN, minute, second, instant.getUTCMilliseconds());
  return clock;
}

function dayOfYear(clock: Date): number {
  const january = new Date(0);
  january.setUTCFullYear(clock.getUTCFullYear(), 0, 1);
  return Math.floor((clock.getTime() - january.getTime()) / DAY_MS);
}

const FIELDS: Readonly<Record<string, (clock: Date) => number>> = {
  getFullYear: (clock) => clock.getUTCFullYear(),
  getMonth: (clock) => clock.getUTCMonth(),
  getDate: (clock) => clock.getUTCDate(),
  getDayOfMonth: (clock) => clock.getUTCDate() - 1,
  getDayOfWeek: (clock) => clock.getUTCDay(),
  getDayOfYear: dayOfYear,
  getHours: (clock) => clock.getUTCHours(),
  getMinutes: (clock) => clock.getUTCMinutes(),
  getSeconds: (clock) => clock.getUTCSeconds(),
  getMilliseconds: (clock) => clock.getUTCMilliseconds(),
};

/** Names of the functions that take a time zone. */
export const TIME_FUNCTIONS: ReadonlySet<string> = new Set(Object.keys(FIELDS));

function field(timestamp: Timestamp, zone: string | undefined, read: (clock: Date) => number): bigint {
  return BigInt(read(wallClock(timestampDate(timestamp), zone)));
}

export const timeFunctions: readonly CelFunc[] = Object.entries(FIELDS).flatMap(([name, read]) => [
  celMethod(name, TIMESTAMP, [], CelScalar.INT, function () {
    return field(this.message, undefined, read);
  }),
  celMethod(name, TIMESTAMP, [CelScalar.STRING], CelScalar.INT, function (zone) {
    return field(this.message, zone, read);
  }),
]);

// Times are microseconds since the Unix epoch; people read them in their own time zone, the hub gets UTC.

import type { Micros } from "./api.ts";

export const MILLISECOND = 1_000;
export const SECOND = 1_000_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const YEAR = 365 * DAY;

export function now(): Micros {
  return Date.now() * 1_000;
}

/** Reads RFC 3339 with up to six digits; NaN if the text is not a time. `Date` keeps three digits only. */
export function fromRfc3339(text: string): Micros {
  const [, head, fraction = "", zone] = /^([^.]*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/i.exec(text) ?? [];
  return Date.parse(`${head}${zone}`) * 1_000 + Number(fraction.slice(0, 6).padEnd(6, "0"));
}

/** Six digits in UTC, as the hub writes them. */
export function toRfc3339(time: Micros): string {
  const seconds = Math.floor(time / SECOND);
  const micros = Math.round(time - seconds * SECOND);
  return `${new Date(seconds * 1_000).toISOString().slice(0, 19)}.${String(micros).padStart(6, "0")}Z`;
}

const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const DAY_MONTH = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const WEEKDAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
const MONTH = new Intl.DateTimeFormat("en-GB", { month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const HOUR_MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

function asDate(time: Micros): Date {
  return new Date(Math.floor(time / 1_000));
}

export function date(time: Micros): string {
  return DATE.format(asDate(time));
}

/** The time of day; `digits` of the second's fraction are cut, not rounded. */
export function clock(time: Micros, digits = 0): string {
  const text = CLOCK.format(asDate(time));
  if (digits === 0) return text;
  const fraction = String(Math.floor(((time % SECOND) + SECOND) % SECOND)).padStart(6, "0");
  return `${text}.${fraction.slice(0, digits)}`;
}

export function dateAndClock(time: Micros, digits = 0): string {
  return `${date(time)} ${clock(time, digits)}`;
}

/** The two largest units of a span: "3 d 4 h", "12.3 s", "250 ms". */
export function duration(span: Micros): string {
  const length = Math.max(0, span);
  if (length < MILLISECOND) return `${Math.round(length)} µs`;
  if (length < SECOND) return `${Math.round(length / MILLISECOND)} ms`;
  if (length < MINUTE) return `${trimmed(length / SECOND)} s`;
  const units: [Micros, string][] = [
    [YEAR, "y"],
    [DAY, "d"],
    [HOUR, "h"],
    [MINUTE, "min"],
    [SECOND, "s"],
  ];
  const first = units.findIndex(([unit]) => length >= unit);
  const [large, largeName] = units[first] ?? [SECOND, "s"];
  const [small, smallName] = units[first + 1] ?? [SECOND, "s"];
  const rest = Math.floor((length % large) / small);
  const whole = `${Math.floor(length / large)} ${largeName}`;
  return rest > 0 ? `${whole} ${rest} ${smallName}` : whole;
}

function trimmed(value: number): string {
  return value < 10 ? value.toFixed(1).replace(/\.0$/, "") : String(Math.floor(value));
}

/** How long something has lasted, in whole seconds: it is shown while it grows. */
export function soFar(span: Micros): string {
  return span < SECOND ? "less than a second" : duration(Math.floor(span / SECOND) * SECOND);
}

/** A step of the axis: fixed up to an hour, by the calendar above. */
const STEPS: Micros[] = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map((count) => count * MILLISECOND),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * MINUTE),
  ...[1, 2, 3, 6, 12].map((count) => count * HOUR),
  ...[1, 2, 7, 14].map((count) => count * DAY),
  ...[30, 91, 182, 365].map((count) => count * DAY),
];

export interface Tick {
  at: Micros;
  text: string;
  /** Whether a day, or a year, begins here. */
  major: boolean;
}

/** The ticks of an axis with room for `room` labels. */
export function ticks(since: Micros, until: Micros, room: number): Tick[] {
  const wanted = (until - since) / Math.max(1, room);
  const step = STEPS.find((candidate) => candidate >= wanted) ?? 365 * DAY;
  return step < HOUR ? fixedTicks(since, until, step) : calendarTicks(since, until, step);
}

function fixedTicks(since: Micros, until: Micros, step: Micros): Tick[] {
  const found: Tick[] = [];
  for (let at = Math.ceil(since / step) * step; at <= until; at += step) {
    const digits = step < 10 * MILLISECOND ? 3 : step < 100 * MILLISECOND ? 2 : step < SECOND ? 1 : 0;
    const text = step < MINUTE ? clock(at, digits) : HOUR_MINUTE.format(asDate(at));
    const start = asDate(at);
    const isMidnight = start.getHours() === 0 && start.getMinutes() === 0 && at % MINUTE === 0;
    found.push({ at, text: isMidnight ? DAY_MONTH.format(start) : text, major: isMidnight });
  }
  return found;
}

/** Ticks at whole hours, days or months of the local time, also over a change of the clock. */
function calendarTicks(since: Micros, until: Micros, step: Micros): Tick[] {
  const found: Tick[] = [];
  const at = asDate(since);
  at.setMinutes(0, 0, 0);
  const days = step / DAY;
  const months = days >= 30 ? Math.max(1, Math.round(days / 30.4)) : 0;
  if (days >= 1) at.setHours(0);
  else at.setHours(Math.floor(at.getHours() / (step / HOUR)) * (step / HOUR));
  if (days >= 7 && months === 0) at.setDate(at.getDate() - ((at.getDay() + 6) % 7));
  if (months > 0) at.setMonth(Math.floor(at.getMonth() / months) * months, 1);
  while (at.getTime() * 1_000 <= until) {
    const micros = at.getTime() * 1_000;
    if (micros >= since) found.push(calendarTick(at, micros, days, months));
    if (months > 0) at.setMonth(at.getMonth() + months);
    else if (days >= 1) at.setDate(at.getDate() + days);
    else at.setHours(at.getHours() + step / HOUR);
  }
  return found;
}

function calendarTick(at: Date, micros: Micros, days: number, months: number): Tick {
  if (months > 0) return { at: micros, text: MONTH.format(at), major: at.getMonth() === 0 };
  if (days >= 1) return { at: micros, text: WEEKDAY.format(at), major: at.getDay() === 1 };
  const isMidnight = at.getHours() === 0;
  return { at: micros, text: isMidnight ? WEEKDAY.format(at) : HOUR_MINUTE.format(at), major: isMidnight };
}

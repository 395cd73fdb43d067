// The part of time that is on the screen, and how it is moved.

import type { Micros } from "./api.ts";
import { DAY, HOUR, MILLISECOND, MINUTE, YEAR } from "./time.ts";

export interface View {
  since: Micros;
  until: Micros;
  /** The end of the view is the present; `since` and `until` then give its length. */
  live: boolean;
}

export const SPAN_MIN: Micros = 10 * MILLISECOND;
export const SPAN_MAX: Micros = 20 * YEAR;
export const DEFAULT_SPAN: Micros = DAY;
/** The shortest view that a page begins with. */
const FIRST_SPAN_MIN: Micros = 5 * MINUTE;

export const PRESETS: [text: string, span: Micros][] = [
  ["minute", MINUTE],
  ["5 minutes", 5 * MINUTE],
  ["15 minutes", 15 * MINUTE],
  ["hour", HOUR],
  ["6 hours", 6 * HOUR],
  ["day", DAY],
  ["7 days", 7 * DAY],
  ["30 days", 30 * DAY],
  ["year", YEAR],
];

/** The length of the view that a page begins with: the shortest that shows the `first` record, up to a day. */
export function firstSpan(first: Micros | null, now: Micros): Micros {
  const age = first === null ? 0 : now - first;
  const fits = (length: Micros): boolean => length >= Math.max(age, FIRST_SPAN_MIN);
  return PRESETS.find(([, length]) => length === DEFAULT_SPAN || fits(length))?.[1] ?? DEFAULT_SPAN;
}

export function liveView(now: Micros, span: Micros): View {
  return { since: now - span, until: now, live: true };
}

export function span(view: View): Micros {
  return view.until - view.since;
}

/** The view as it is now: one that is live ends at the present. */
export function current(view: View, now: Micros): View {
  return view.live ? liveView(now, span(view)) : view;
}

/** Zooms by `factor` (below 1 goes in) so that the moment at `anchor`, a share of the width, stays where it is. */
export function zoom(view: View, factor: number, anchor: number, now: Micros): View {
  const length = clamp(span(view) * factor, SPAN_MIN, SPAN_MAX);
  // At the right edge of a live view the present is the anchor, and the view stays live.
  if (view.live && (anchor > 0.9 || factor > 1)) return liveView(now, Math.round(length));
  const at = view.since + span(view) * anchor;
  return fixed(at - length * anchor, at + length * (1 - anchor), now);
}

/** Moves by a share of the width: positive towards the present. */
export function pan(view: View, share: number, now: Micros): View {
  const by = span(view) * share;
  return fixed(view.since + by, view.until + by, now);
}

/** The view of a span of time that was chosen. */
export function between(a: Micros, b: Micros, now: Micros): View {
  const length = Math.max(Math.abs(b - a), SPAN_MIN);
  const middle = (a + b) / 2;
  return fixed(middle - length / 2, middle + length / 2, now);
}

/** Nothing is known of the future: a view goes at most half of its length beyond the present. */
function fixed(since: Micros, until: Micros, now: Micros): View {
  const beyond = Math.max(0, until - (now + (until - since) / 2));
  return { since: Math.round(since - beyond), until: Math.round(until - beyond), live: false };
}

/** Shows the moment: as it is if the view has it, or else around it. */
export function showing(view: View, at: Micros, now: Micros): View {
  if (at >= view.since && at <= view.until) return view;
  return between(at - span(view) / 2, at + span(view) / 2, now);
}

export function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

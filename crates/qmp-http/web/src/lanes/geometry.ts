// Where things are: moments to pixels, lanes to rows.

import type { Micros } from "../api.ts";
import type { View } from "../view.ts";

/** Lanes up to this number are drawn large enough for a name of the state in its band. */
export const ROOMY_LANES_MAX = 12;

/** Room beside the present: a mark of it would be cut in half. */
export const EDGE_PIXELS = 8;

export interface Row {
  /** Height of a row, in pixels. */
  height: number;
  /** Where findings begin, and how high they are; the same for marks and the band of the run state. */
  finding: { top: number; height: number };
  mark: { top: number; height: number };
  band: { top: number; height: number };
  hasText: boolean;
}

/** A row of the lanes. On a narrow screen the name stands above the lane and not beside it. */
export function rowFor(lanes: number, isNarrow: boolean): Row {
  const isRoomy = lanes <= ROOMY_LANES_MAX;
  const name = isNarrow ? 20 : 0;
  const finding = { top: name + 3, height: isRoomy ? 7 : 5 };
  const mark = { top: finding.top + finding.height + 1, height: isRoomy ? 15 : 9 };
  const band = { top: mark.top + mark.height + 1, height: isRoomy ? 14 : 8 };
  return { height: band.top + band.height + 3, finding, mark, band, hasText: isRoomy };
}

export interface Scale {
  view: View;
  width: number;
}

export function x(scale: Scale, at: Micros): number {
  return ((at - scale.view.since) / (scale.view.until - scale.view.since)) * scale.width;
}

export function timeAt(scale: Scale, pixel: number): Micros {
  return scale.view.since + (pixel / scale.width) * (scale.view.until - scale.view.since);
}

/** The pixels of a span within the canvas; `null` if it is outside. `to` is null where the span has not ended. */
export function extent(
  scale: Scale,
  from: Micros,
  to: Micros | null,
  now: Micros,
): { left: number; right: number } | null {
  const left = x(scale, from);
  const right = x(scale, to ?? Math.max(from, now));
  if (right < 0 || left > scale.width) return null;
  return { left: Math.max(-2, left), right: Math.min(scale.width + 2, right) };
}

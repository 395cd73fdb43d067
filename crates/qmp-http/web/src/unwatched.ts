// Gaps and ends. While QEMU does not run there is nothing to watch, so the time from a known end to the next start is "off";
// the hub calls it a gap too, since no monitor was attached.

import type { GapSpan, Lane, Timeline } from "./api.ts";
import { stateLook } from "./states.ts";

/** The timeline with the gaps in which events may have been missed. */
export function withoutOffGaps(timeline: Timeline): Timeline {
  const isOff = (state: number): boolean => stateLook(timeline.states[state] ?? null) === "off";
  return { ...timeline, lanes: timeline.lanes.map((lane) => ({ ...lane, gaps: unwatched(lane, isOff) })) };
}

function unwatched(lane: Lane, isOff: (state: number) => boolean): GapSpan[] {
  let gaps = lane.gaps;
  for (const [from, to, state] of lane.states) {
    if (isOff(state)) gaps = gaps.flatMap((gap) => without(gap, from, to ?? Number.POSITIVE_INFINITY));
  }
  return gaps;
}

/** The parts of a gap before `from` and after `to`. */
function without([begin, end, reason, drawn]: GapSpan, from: number, to: number): GapSpan[] {
  const last = end ?? Number.POSITIVE_INFINITY;
  if (to <= begin || from >= last) return [[begin, end, reason, drawn]];
  const parts: GapSpan[] = [];
  if (from > begin) parts.push([begin, from, reason, drawn]);
  if (to < last) parts.push([to, end, reason, drawn]);
  return parts;
}

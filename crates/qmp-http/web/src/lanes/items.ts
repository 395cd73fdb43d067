// What a lane shows, as a list in the order of time: for the pointer, for the cursor of the keyboard, for the table.

import type { Lane, Micros, Timeline } from "../api.ts";
import { asSeverity, SEVERITIES, type Severity, severityOf } from "../severity.ts";
import { stateText } from "../states.ts";
import { line, plural } from "../text.ts";
import { dateAndClock, duration } from "../time.ts";
import type { View } from "../view.ts";

export interface Item {
  kind: "event" | "finding" | "gap" | "state" | "count";
  from: Micros;
  /** `null` if it has not ended. */
  to: Micros | null;
  text: string;
  /** The record behind it, if it is one. */
  offset: number | null;
}

const ORDER = ["finding", "event", "gap", "state", "count"];

/** The items of a lane within the view, by time. Counts stand in for marks where these would be too many. */
export function items(
  timeline: Timeline,
  lane: Lane,
  view: View,
  shown: readonly Severity[],
  now: Micros,
): Item[] {
  const found = [
    ...findingItems(timeline, lane),
    ...gapItems(timeline, lane, now),
    ...stateItems(timeline, lane, now),
    ...(lane.marks === undefined ? countItems(timeline, lane, shown) : markItems(lane, shown)),
  ];
  return found
    .filter((item) => item.from <= view.until && (item.to ?? now) >= view.since)
    .sort((a, b) => a.from - b.from || ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
}

function findingItems(timeline: Timeline, lane: Lane): Item[] {
  return lane.findings.map(([offset, from, to, kind, drawn]) => ({
    kind: "finding",
    from,
    to,
    offset,
    text:
      `Finding ${timeline.kinds[kind] ?? "unknown"}${to === null ? ", still open" : ""}` +
      `${drawn > 1 ? ` (${drawn} findings)` : ""}`,
  }));
}

function gapItems(timeline: Timeline, lane: Lane, now: Micros): Item[] {
  return lane.gaps.map(([from, to, reason, drawn]) => ({
    kind: "gap",
    from,
    to,
    offset: null,
    text:
      `Not watched for ${duration((to ?? now) - from)}${to === null ? " so far" : ""}` +
      `: ${timeline.reasons[reason] ?? "unknown reason"}${drawn > 1 ? ` (${drawn} gaps)` : ""}`,
  }));
}

function stateItems(timeline: Timeline, lane: Lane, now: Micros): Item[] {
  return lane.states.map(([from, to, state, changes]) => ({
    kind: "state",
    from,
    to,
    offset: null,
    text:
      changes > 0
        ? `${changes} ${changes === 1 ? "change" : "changes"} of state within ${duration((to ?? now) - from)}`
        : `State ${stateText(timeline.states[state] ?? null)} for ${duration((to ?? now) - from)}`,
  }));
}

function markItems(lane: Lane, shown: readonly Severity[]): Item[] {
  const marks = (lane.marks ?? []).filter(
    ([, , event]) => shown.length === 0 || shown.includes(severityOf(event)),
  );
  return marks.map(([offset, at, event]) => ({ kind: "event", from: at, to: at, offset, text: line(event) }));
}

function countItems(timeline: Timeline, lane: Lane, shown: readonly Severity[]): Item[] {
  const buckets = new Map<number, { count: number; severity: Severity }>();
  for (const severity of SEVERITIES) {
    if (shown.length > 0 && !shown.includes(severity)) continue;
    for (const [bucket, count] of lane.counts[severity] ?? []) {
      const before = buckets.get(bucket);
      // The severities come most urgent first, so that the first one names the bucket.
      buckets.set(bucket, { count: count + (before?.count ?? 0), severity: before?.severity ?? severity });
    }
  }
  return [...buckets].map(([bucket, { count, severity }]) => {
    const from = timeline.since + bucket * timeline.bucket;
    const worst = severity === "news" ? "" : `, with ${SEVERITY_WORDS[severity]}`;
    return {
      kind: "count",
      from,
      to: from + timeline.bucket,
      offset: null,
      text: plural(count, "event") + worst,
    };
  });
}

const SEVERITY_WORDS: { [severity in Severity]: string } = {
  error: "errors",
  warning: "warnings",
  lifecycle: "lifecycle events",
  good: "recoveries",
  news: "other events",
};

/** The item at a moment; what is smaller wins, within `slack` on both sides. */
export function itemAt(list: readonly Item[], at: Micros, slack: Micros, now: Micros): Item | null {
  let best: Item | null = null;
  let bestRank = Number.POSITIVE_INFINITY;
  for (const item of list) {
    const to = item.to ?? now;
    if (at < item.from - slack || at > Math.max(to, item.from) + slack) continue;
    const isPoint = item.kind === "event" || item.kind === "finding";
    const rank = isPoint ? Math.abs(at - item.from) : slack * (2 + ORDER.indexOf(item.kind));
    if (rank < bestRank) {
      best = item;
      bestRank = rank;
    }
  }
  return best;
}

/** One sentence for the tooltip and the screen reader. */
export function describe(vm: string, item: Item): string {
  const digits = item.kind === "event" || item.kind === "finding" ? 3 : 0;
  return `${line(vm, 60)}: ${item.text}, ${dateAndClock(item.from, digits)}`;
}

export interface LaneSummary {
  vm: string;
  state: string;
  counts: { [severity in Severity]: number };
  findings: number;
  gaps: number;
  notWatched: Micros;
}

/** The lane in numbers, for the table of the same window. */
export function summarize(timeline: Timeline, lane: Lane, view: View, now: Micros): LaneSummary {
  const counts = Object.fromEntries(SEVERITIES.map((severity) => [severity, 0])) as LaneSummary["counts"];
  for (const [name, buckets] of Object.entries(lane.counts)) {
    const severity = asSeverity(name);
    if (severity !== null) for (const [, count] of buckets) counts[severity] += count;
  }
  const gaps = lane.gaps.filter(([from, to]) => from <= view.until && (to ?? now) >= view.since);
  const notWatched = gaps.reduce((total, [from, to]) => {
    return total + Math.max(0, Math.min(to ?? now, view.until) - Math.max(from, view.since));
  }, 0);
  const last = lane.states.at(-1);
  return {
    vm: lane.vm,
    state: stateText(last === undefined ? null : (timeline.states[last[2]] ?? null)),
    counts,
    findings: lane.findings.length,
    gaps: gaps.length,
    notWatched,
  };
}

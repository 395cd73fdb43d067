// Puts records of the stream on the timeline that the hub sent before them, so that a mark appears with its event and not
// with the next answer. The next answer replaces all of it.

import type { HubRecord, Lane, Timeline } from "./api.ts";
import { severityOf } from "./severity.ts";
import { fromRfc3339 } from "./time.ts";

/** The timeline with the records after its head, of one that has an end those before it. `timeline` stays as it is. */
export function overlay(timeline: Timeline, records: readonly HubRecord[], isLive: boolean): Timeline {
  const newer = records.filter(
    (record) => record.offset > timeline.head && (isLive || fromRfc3339(record.received) < timeline.until),
  );
  if (newer.length === 0) return timeline;
  const made: Timeline = {
    ...timeline,
    states: [...timeline.states],
    reasons: [...timeline.reasons],
    kinds: [...timeline.kinds],
    total: { ...timeline.total },
    lanes: timeline.lanes.slice(),
  };
  const copies = new Map<string, Lane>();
  for (const record of newer) {
    const lane = copies.get(record.vm) ?? copyLane(made, record.vm);
    // A VM without a lane here is further down, or new: the next answer decides.
    if (lane === null) continue;
    copies.set(record.vm, lane);
    apply(made, lane, record);
  }
  return made;
}

function copyLane(timeline: Timeline, vm: string): Lane | null {
  const index = timeline.lanes.findIndex((lane) => lane.vm === vm);
  const lane = timeline.lanes[index];
  if (lane === undefined) return null;
  const copy: Lane = {
    ...lane,
    counts: { ...lane.counts },
    states: [...lane.states],
    gaps: [...lane.gaps],
    findings: [...lane.findings],
    ...(lane.marks === undefined ? {} : { marks: [...lane.marks] }),
  };
  timeline.lanes[index] = copy;
  return copy;
}

function apply(timeline: Timeline, lane: Lane, record: HubRecord): void {
  const at = fromRfc3339(record.received);
  switch (record.kind) {
    case "event":
      lane.marks?.push([record.offset, at, record.event]);
      countEvent(timeline, lane, severityOf(record.event), at);
      if (record.event === "STOP") changeState(timeline, lane, at, "paused");
      if (record.event === "RESUME") changeState(timeline, lane, at, "running");
      break;
    case "finding": {
      lane.findings.push([record.offset, at, at, indexOf(timeline.kinds, record.finding), 1]);
      const state = record.data?.run_state;
      if (typeof state === "string") changeState(timeline, lane, at, state);
      break;
    }
    case "attached": {
      const gap = lane.gaps.at(-1);
      if (gap !== undefined && gap[1] === null)
        lane.gaps[lane.gaps.length - 1] = [gap[0], at, gap[2], gap[3]];
      const answer = record.snapshot["query-status"] as { status?: unknown } | undefined;
      if (typeof answer?.status === "string") changeState(timeline, lane, at, answer.status);
      break;
    }
    case "detached":
      lane.gaps.push([at, null, indexOf(timeline.reasons, record.reason), 1]);
      break;
  }
}

function countEvent(timeline: Timeline, lane: Lane, severity: string, at: number): void {
  const bucket = Math.floor((at - timeline.since) / timeline.bucket);
  lane.counts[severity] = [...(lane.counts[severity] ?? []), [bucket, 1]];
  timeline.total[severity] = [...(timeline.total[severity] ?? []), [bucket, 1]];
}

function changeState(timeline: Timeline, lane: Lane, at: number, state: string): void {
  const index = indexOf(timeline.states, state);
  const last = lane.states.at(-1);
  if (last !== undefined && last[1] === null) {
    if (last[2] === index) return;
    lane.states[lane.states.length - 1] = [last[0], at, last[2], last[3]];
  }
  lane.states.push([at, null, index, 0]);
}

function indexOf(names: string[], name: string): number {
  const index = names.indexOf(name);
  return index >= 0 ? index : names.push(name) - 1;
}

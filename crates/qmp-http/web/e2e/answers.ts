// Answers of a hub about records in memory, in the shapes of its interface.

import type {
  Counts,
  GapSpan,
  HubRecord,
  Lane,
  RecordDetail,
  SeverityCounts,
  StateSpan,
  Timeline,
} from "../src/api.ts";
import { matchesGlob } from "../src/matching.ts";
import { SEVERITIES, severityOf } from "../src/severity.ts";
import { fromRfc3339 } from "../src/time.ts";
import { CATALOGUE } from "./fleet.ts";

const STATES = ["unknown", "running", "paused", "io-error", "ended", "gone"];

function times(query: URLSearchParams): { since: number; until: number } {
  const until = fromRfc3339(query.get("until") ?? "") || Date.now() * 1_000;
  return { since: fromRfc3339(query.get("since") ?? "") || until - 86_400e6, until };
}

export function selected(records: readonly HubRecord[], query: URLSearchParams): HubRecord[] {
  const [vms, events, kinds, where] = ["vm", "event", "kind", "where"].map((name) => query.getAll(name));
  const { since, until } = times(query);
  return records.filter((record) => {
    const at = fromRfc3339(record.received);
    if (at < since || at > until) return false;
    if (vms?.length && !vms.some((pattern) => matchesGlob(pattern, record.vm))) return false;
    if (
      events?.length &&
      !(record.kind === "event" && events.some((pattern) => matchesGlob(pattern, record.event)))
    )
      return false;
    if (kinds?.length && !kinds.includes(record.kind)) return false;
    return (where ?? []).every((condition) => {
      return record.kind === "finding" && condition === `finding=${record.finding}`;
    });
  });
}

function indexOf(names: string[], name: string): number {
  const index = names.indexOf(name);
  return index >= 0 ? index : names.push(name) - 1;
}

interface Names {
  states: string[];
  reasons: string[];
  kinds: string[];
}

export function timeline(records: readonly HubRecord[], query: URLSearchParams): Timeline {
  const { since, until } = times(query);
  const buckets = Number(query.get("buckets") ?? 1_200);
  const bucket = Math.max(1, Math.ceil((until - since) / buckets));
  const names: Names = { states: [...STATES], reasons: [], kinds: [] };
  const byVm = new Map<string, HubRecord[]>();
  const vmQuery = query.getAll("vm");
  for (const record of records) {
    if (vmQuery.length > 0 && !vmQuery.some((pattern) => matchesGlob(pattern, record.vm))) continue;
    byVm.set(record.vm, [...(byVm.get(record.vm) ?? []), record]);
  }
  const chosen = selected(records, query);
  const marksMax = Number(query.get("marks") ?? 2_000);
  const hasMarks = chosen.length <= marksMax;
  const lanes = [...byVm].map(([vm, all]) =>
    laneOf(vm, all, names, { since, until, bucket }, query, hasMarks),
  );
  const total: SeverityCounts = {};
  for (const lane of lanes)
    for (const [severity, list] of Object.entries(lane.counts)) merge(total, severity, list);
  const trouble = (lane: Lane): number =>
    (lane.counts.error?.length ?? 0) * 3 + (lane.counts.warning?.length ?? 0);
  if (query.get("sort") === "trouble") lanes.sort((a, b) => trouble(b) - trouble(a));
  else lanes.sort((a, b) => a.vm.localeCompare(b.vm));
  const begin = Math.max(
    0,
    lanes.findIndex((lane) => lane.vm === query.get("from")),
  );
  const count = Number(query.get("lanes") ?? 40);
  const head = records.at(-1)?.offset ?? 0;
  return {
    since,
    until,
    bucket,
    buckets,
    journal: "5f0c",
    first: 1,
    sealed: 0,
    head,
    partial: false,
    severities: [...SEVERITIES],
    ...names,
    total,
    lanes_total: lanes.length,
    next: lanes[begin + count]?.vm ?? null,
    lanes: lanes.slice(begin, begin + count),
  };
}

function merge(counts: SeverityCounts, severity: string, list: [number, number][]): void {
  const sums = new Map(counts[severity] ?? []);
  for (const [bucket, count] of list) sums.set(bucket, (sums.get(bucket) ?? 0) + count);
  counts[severity] = [...sums].sort(([a], [b]) => a - b);
}

interface Window {
  since: number;
  until: number;
  bucket: number;
}

function laneOf(
  vm: string,
  all: HubRecord[],
  names: Names,
  window: Window,
  query: URLSearchParams,
  hasMarks: boolean,
): Lane {
  const { since, until, bucket } = window;
  const states: StateSpan[] = [];
  const gaps: GapSpan[] = [];
  const lane: Lane = { vm, counts: {}, states, gaps, findings: [], ...(hasMarks ? { marks: [] } : {}) };
  const change = (at: number, state: string): void => {
    const index = indexOf(names.states, state);
    const last = states.at(-1);
    if (last?.[2] === index && last[1] === null) return;
    if (last !== undefined && last[1] === null) last[1] = at;
    states.push([at, null, index, 1]);
  };
  for (const record of all) {
    const at = fromRfc3339(record.received);
    if (at > until) break;
    if (record.kind === "attached") {
      const gap = gaps.at(-1);
      if (gap !== undefined && gap[1] === null) gap[1] = at;
      change(at, (record.snapshot["query-status"] as { status: string }).status);
    } else if (record.kind === "detached") {
      gaps.push([at, null, indexOf(names.reasons, record.reason), 1]);
      change(at, record.reason === "peer closed" ? "ended" : "unknown");
    } else if (record.kind === "finding") {
      const state = record.data?.run_state;
      if (typeof state === "string") change(at, state);
      if (record.finding !== "query" && at >= since)
        lane.findings.push([record.offset, at, at, indexOf(names.kinds, record.finding), 1]);
    } else if (record.event === "STOP") change(at, "paused");
    else if (record.event === "RESUME") change(at, "running");
  }
  const inWindow = selected(all, query);
  for (const record of inWindow) {
    if (record.kind !== "event") continue;
    const at = fromRfc3339(record.received);
    merge(lane.counts, severityOf(record.event), [[Math.floor((at - since) / bucket), 1]]);
    lane.marks?.push([record.offset, at, record.event]);
  }
  lane.states = states.filter(([from, to]) => (to ?? until) >= since && from <= until);
  lane.gaps = gaps.filter(([from, to]) => (to ?? until) >= since && from <= until);
  return lane;
}

export function counts(records: readonly HubRecord[], query: URLSearchParams): Counts {
  const { since, until } = times(query);
  const buckets = Number(query.get("buckets") ?? 60);
  const bucket = (until - since) / buckets;
  const chosen = selected(records, query).filter((record) => record.kind === "event");
  const by: Counts["by"] = {};
  for (const facet of query.getAll("by")) {
    const found = new Map<string, Counts["by"][string][number]>();
    for (const record of chosen) {
      if (record.kind !== "event") continue;
      const name = facet === "vm" ? record.vm : record.event;
      const one = found.get(name) ?? {
        name,
        severity: severityOf(record.event),
        count: 0,
        spark: new Array<number>(buckets).fill(0),
      };
      const index = Math.min(buckets - 1, Math.floor((fromRfc3339(record.received) - since) / bucket));
      one.count += 1;
      one.spark[index] = (one.spark[index] ?? 0) + 1;
      found.set(name, one);
    }
    by[facet] = [...found.values()]
      .sort((a, b) => b.count - a.count)
      .slice(0, Number(query.get("top") ?? 20));
  }
  return { total: chosen.length, since, until, bucket, by, other: {} };
}

export function detail(records: readonly HubRecord[], record: HubRecord): RecordDetail {
  const at = (position: [number, number], vm: string): HubRecord | undefined =>
    records.find((other) => other.vm === vm && other.epoch === position[0] && other.seq === position[1]);
  const causes = record.kind === "finding" ? record.causes.map((cause) => at(cause, record.vm)) : [];
  const caused = records.filter((other) => {
    return (
      other.kind === "finding" &&
      other.vm === record.vm &&
      other.causes.some(([epoch, seq]) => epoch === record.epoch && seq === record.seq)
    );
  });
  const near = (step: 1 | -1): { vm: number | null; event: number | null } => {
    const list =
      step > 0
        ? records.filter((other) => other.offset > record.offset)
        : records.filter((other) => other.offset < record.offset).reverse();
    const vm = list.find((other) => other.vm === record.vm);
    const event = list.find(
      (other) => other.kind === "event" && record.kind === "event" && other.event === record.event,
    );
    return { vm: vm?.offset ?? null, event: event?.offset ?? null };
  };
  return {
    record,
    meaning:
      record.kind === "event" ? (CATALOGUE.find((entry) => entry.name === record.event) ?? null) : null,
    causes: causes.filter((cause) => cause !== undefined),
    caused: caused.filter((other) => other.kind === "finding"),
    before: near(-1),
    after: near(1),
  };
}

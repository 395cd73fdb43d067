// The address of the page has everything that is needed to see the same: place, view, filters, record.

import type { Micros } from "./api.ts";
import { SEVERITIES, type Severity } from "./severity.ts";
import { fromRfc3339, toRfc3339 } from "./time.ts";
import { DEFAULT_SPAN, liveView, SPAN_MAX, SPAN_MIN, span, type View } from "./view.ts";

export type Place = { page: "fleet" } | { page: "vm"; name: string } | { page: "event"; name: string };

export interface Filters {
  vm: string[];
  /** Patterns of other hosts. */
  host: string[];
  event: string[];
  finding: string[];
  severity: Severity[];
  text: string;
}

export const SORTS = ["trouble", "name", "activity"] as const;
export type Sort = (typeof SORTS)[number];

/** A record by its place in the history of its VM: the link that stays, also in a copy of the journal. */
export interface RecordKey {
  vm: string;
  epoch: number;
  seq: number;
}

export interface PageState {
  place: Place;
  view: View;
  /** The length of the live view that the address leaves out; `null` if it leaves out none. */
  usualSpan: Micros | null;
  filters: Filters;
  sort: Sort;
  record: RecordKey | null;
  /** Lanes as a table. */
  table: boolean;
}

export const NO_FILTERS: Filters = { vm: [], host: [], event: [], finding: [], severity: [], text: "" };

export function isFiltered(filters: Filters): boolean {
  const { vm, host, event, finding, severity, text } = filters;
  return vm.length + host.length + event.length + finding.length + severity.length + text.length > 0;
}

export function readLocation(url: URL, now: Micros, usualSpan: Micros | null): PageState {
  const parameters = url.searchParams;
  const sort = SORTS.find((name) => name === parameters.get("sort")) ?? "trouble";
  return {
    place: readPlace(url.pathname),
    view: readView(parameters, now, usualSpan),
    usualSpan,
    filters: {
      vm: parameters.getAll("vm"),
      host: parameters.getAll("host"),
      event: parameters.getAll("event"),
      finding: parameters.getAll("finding"),
      severity: SEVERITIES.filter((name) => parameters.getAll("severity").includes(name)),
      text: parameters.get("text") ?? "",
    },
    sort,
    record: readRecord(parameters.get("record")),
    table: parameters.get("lanes") === "table",
  };
}

function readPlace(path: string): Place {
  const [, page, name] = /^\/(vm|event)\/([^/]+)$/.exec(path) ?? [];
  if (name === undefined) return { page: "fleet" };
  return { page: page === "vm" ? "vm" : "event", name: decoded(name) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A stray % in an address that was typed.
    return text;
  }
}

function readView(parameters: URLSearchParams, now: Micros, usualSpan: Micros | null): View {
  const times = readTimes(parameters);
  if (times === null) return liveView(now, usualSpan ?? DEFAULT_SPAN);
  const [since, until] = times;
  return parameters.has("live") ? liveView(now, until - since) : { since, until, live: false };
}

/** Begin and end of the view; `null` without them, or if no page shows such a length. */
function readTimes(parameters: URLSearchParams): [since: Micros, until: Micros] | null {
  const since = fromRfc3339(parameters.get("since") ?? "");
  const until = fromRfc3339(parameters.get("until") ?? "");
  const length = until - since;
  return length >= SPAN_MIN && length <= SPAN_MAX ? [since, until] : null;
}

/** Whether the address says which time is shown. */
export function hasTimes(url: URL): boolean {
  return readTimes(url.searchParams) !== null;
}

function readRecord(text: string | null): RecordKey | null {
  const [, vm, epoch, seq] = /^(.+)\/(\d+)\/(\d+)$/s.exec(text ?? "") ?? [];
  return vm === undefined ? null : { vm, epoch: Number(epoch), seq: Number(seq) };
}

export function placePath(place: Place): string {
  return place.page === "fleet" ? "/" : `/${place.page}/${encodeURIComponent(place.name)}`;
}

export function writeLocation(state: PageState): string {
  const parameters = new URLSearchParams();
  const { view, filters, record } = state;
  if (!view.live || span(view) !== state.usualSpan) {
    parameters.set("since", toRfc3339(view.since));
    parameters.set("until", toRfc3339(view.until));
    if (view.live) parameters.set("live", "");
  }
  for (const name of ["vm", "host", "event", "finding", "severity"] as const) {
    for (const value of filters[name]) parameters.append(name, value);
  }
  if (filters.text !== "") parameters.set("text", filters.text);
  if (state.sort !== "trouble") parameters.set("sort", state.sort);
  if (record !== null) parameters.set("record", `${record.vm}/${record.epoch}/${record.seq}`);
  if (state.table) parameters.set("lanes", "table");
  const query = parameters.toString().replace(/live=(&|$)/, "live$1");
  return placePath(state.place) + (query === "" ? "" : `?${query}`);
}

export function isSameRecord(a: RecordKey | null, b: RecordKey | null): boolean {
  return a?.vm === b?.vm && a?.epoch === b?.epoch && a?.seq === b?.seq;
}

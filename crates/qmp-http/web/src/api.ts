// The types of the hub's HTTP interface. Those of its OpenAPI document are generated; here are their names in the page, and
// the types of the endpoints that read a window of time.

import type {
  AttachedRecord,
  DetachedRecord,
  EventDescription,
  EventRecord,
  FindingRecord,
  Hub,
  Record as HubRecord,
  LastEvent,
  Relay,
  Running,
  Vm,
  VmAlone,
  Why,
} from "./generated/interface.ts";

export type {
  AttachedRecord,
  DetachedRecord,
  EventDescription,
  EventRecord,
  FindingRecord,
  Hub,
  HubRecord,
  LastEvent,
  Relay,
  Running,
  Vm,
  VmAlone,
  Why,
};

/** Microseconds since the Unix epoch, UTC. */
export type Micros = number;

/** Epoch and number of a record in it. */
export type Position = [epoch: number, seq: number];

export type EventMember = EventDescription["members"][number];

export type BucketCount = [bucket: number, count: number];
export type StateSpan = [from: Micros, to: Micros | null, state: number, changes: number];
export type GapSpan = [from: Micros, to: Micros | null, reason: number, drawn: number];
export type FindingSpan = [offset: number, from: Micros, to: Micros | null, kind: number, drawn: number];
export type Mark = [offset: number, at: Micros, event: string];
export type SeverityCounts = { [severity: string]: BucketCount[] };

export interface Lane {
  host?: string;
  vm: string;
  counts: SeverityCounts;
  states: StateSpan[];
  gaps: GapSpan[];
  findings: FindingSpan[];
  marks?: Mark[];
}

export interface Timeline {
  since: Micros;
  until: Micros;
  bucket: Micros;
  buckets: number;
  journal: string;
  first: number;
  sealed: number;
  head: number;
  partial: boolean;
  read_to?: Micros;
  severities: string[];
  states: string[];
  reasons: string[];
  kinds: string[];
  total: SeverityCounts;
  lanes_total: number;
  next: string | null;
  lanes: Lane[];
}

export interface NameCount {
  name: string;
  severity?: string;
  count: number;
  spark: number[];
}

export interface Counts {
  total: number;
  since: Micros;
  until: Micros;
  bucket: Micros;
  by: { [facet: string]: NameCount[] };
  other: { [facet: string]: { names: number; count: number } };
}

export interface Neighbours {
  vm: number | null;
  event: number | null;
}

export interface RecordDetail {
  record: HubRecord;
  meaning: EventDescription | null;
  causes: HubRecord[];
  caused: FindingRecord[];
  before: Neighbours | null;
  after: Neighbours | null;
}

export interface FindingInterval {
  finding: string;
  host?: string;
  vm: string;
  from: Micros;
  to: Micros | null;
  open: boolean;
  summary: string;
  offset: number;
  causes: Position[];
}

export interface Findings {
  findings: FindingInterval[];
  next: number | null;
}

// The types of the hub's HTTP interface, as crates/qmp-http/src/openapi.json describes them.

/** Microseconds since the Unix epoch, UTC. */
export type Micros = number;

/** Epoch and number of a record in it. */
export type Position = [epoch: number, seq: number];

export interface RecordHead {
  offset: number;
  vm: string;
  epoch: number;
  seq: number;
  received: string;
}

export interface AttachedRecord extends RecordHead {
  kind: "attached";
  snapshot: { [member: string]: unknown };
}

export interface EventRecord extends RecordHead {
  kind: "event";
  event: string;
  sent_name?: string;
  timestamp?: { seconds: number; microseconds: number };
  data?: unknown;
}

export interface FindingRecord extends RecordHead {
  kind: "finding";
  finding: string;
  summary: string;
  causes: Position[];
  data?: { [member: string]: unknown };
}

export interface DetachedRecord extends RecordHead {
  kind: "detached";
  reason: string;
  detail?: string;
  certain_until?: string;
}

export type HubRecord = AttachedRecord | EventRecord | FindingRecord | DetachedRecord;

export interface Why {
  cause: string;
  by: "guest" | "host" | "qemu" | "unknown";
  summary: string;
  causes: Position[];
}

export interface LastEvent {
  event: string;
  epoch: number;
  seq: number;
  received: string;
}

export interface Vm {
  vm: string;
  address: string;
  origin: string;
  state: "connecting" | "attached" | "detached" | "in-use" | "left";
  since: string;
  error?: string;
  silent_since?: string;
  epoch: number | null;
  run_state: string | null;
  run_state_assumed?: boolean;
  run_since: string | null;
  why: Why | null;
  last_event: LastEvent | null;
  as_of?: string;
}

export interface Running {
  id?: string;
  type?: string;
  error?: string;
  status: string;
  since: string;
}

export interface Relay {
  vm: string;
  path: string;
  role: "observe" | "operate";
  clients: number;
  accepted: number;
  turned_away: number;
  closed_slow: number;
  commands: number;
  refused: number;
  error?: string;
}

export interface VmAlone {
  vm: string;
  address: string;
  origin: string;
  state: "connecting" | "attached" | "detached" | "in-use";
  since: string;
  error?: string;
  silent_since?: string;
  unresponsive?: string;
  epoch: number | null;
  attached: boolean;
  detached?: { reason: string; detail?: string; at: string; certain_until: string };
  run_state: string | null;
  run_state_assumed?: boolean;
  run_since: string | null;
  why: Why | null;
  qemu: string | null;
  name?: string;
  uuid?: string;
  last_events: LastEvent[];
  jobs: Running[];
  migration?: Running;
  relays: Relay[];
  as_of?: string;
}

export interface Hub {
  version: string;
  journal: string;
  head: number;
  journal_health: string;
  journal_stalled_since: string | null;
  started: string;
  stuck_rules: string[];
}

export interface EventMember {
  name: string;
  type: string;
  json_type: string;
  optional: boolean;
  since: string | null;
  removed: string | null;
  values: unknown[] | null;
  deprecated: string | null;
  unstable: boolean;
  condition: string | null;
  unit: string | null;
  summary: string;
}

export interface Sequel {
  event: string;
  when: string;
  option: string | null;
  unless_option: string | null;
  since: string | null;
  removed: string | null;
  note: string | null;
}

export interface End {
  when: string;
  option: string | null;
  unless_option: string | null;
  since: string | null;
  removed: string | null;
  note: string | null;
}

export interface EventDescription {
  name: string;
  module: string;
  since: string;
  removed: string | null;
  deprecated: string | null;
  unstable: boolean;
  condition: string | null;
  summary: string;
  notes: string[];
  members: EventMember[];
  throttle: { interval_ms: number; key: string | null; exempt: string | null } | null;
  sequels: Sequel[];
  ends: End[];
  example: { [member: string]: unknown } | null;
  source: string;
}

export type BucketCount = [bucket: number, count: number];
export type StateSpan = [from: Micros, to: Micros | null, state: number, changes: number];
export type GapSpan = [from: Micros, to: Micros | null, reason: number, drawn: number];
export type FindingSpan = [offset: number, from: Micros, to: Micros | null, kind: number, drawn: number];
export type Mark = [offset: number, at: Micros, event: string];
export type SeverityCounts = { [severity: string]: BucketCount[] };

export interface Lane {
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

// Written by `cargo xtask codegen` from crates/qmp-http/src/openapi.json.

export type Alert = {
  host?: HostName;
  /** The name of the rule. */
  rule: string;
  /** When the state began. RFC 3339 in UTC, with six digits. */
  since: string;
  /** The state for which the alert was raised: a run state, or silent. */
  state: string;
  /** The VM. */
  vm: string;
};

export type AlertsResponse = Alert[];

/** An epoch opened: from here on no event is missed. */
export type AttachedRecord = {
  /** The span of certainty, counted from 1. */
  epoch: number;
  host?: HostName;
  kind: "attached";
  /** Its position in the journal; the first is 1. */
  offset: number;
  /** When the hub received it. RFC 3339 in UTC, with six digits. */
  received: string;
  /** Its position in the epoch; `attached` is 0. */
  seq: number;
  /** The greeting, and the replies to `query-status` and other commands. */
  snapshot: { [name: string]: unknown };
  vm: VmName;
};

/** By severity: bucket and number of records, where there are any. */
export type BucketCounts = { [name: string]: [number, number][] };

export type CatalogueResponse = EventDescription[];

export type CheckpointResponse = {
  /** A checksum of VM, offset and state. */
  checksum: number;
  /** The last record of the VM that the state covers. */
  offset: number;
  /** The state: JSON, whose form may change with each release. */
  state: string;
  /** The version of the code that can read the state. */
  version: string;
};

/** Either `execute` or `exec-oob`. */
export type Command = {
  /** The arguments of the command. */
  arguments?: { [name: string]: unknown } | null;
  /** The command. */
  execute: string;
} | {
  /** The arguments of the command. */
  arguments?: { [name: string]: unknown } | null;
  /** The command, out of band. */
  "exec-oob": string;
};

/** Records by name. */
export type Counts = {
  /** The length of a bucket, in microseconds. */
  bucket: number;
  /** The number of buckets. */
  buckets: number;
  /** For each facet, the names with the most records; hours and weekdays in their order. */
  by: { [name: string]: {
    /** The number of records. */
    count: number;
    /** The name. */
    name: string;
    /** The severity of an event or finding by its name. */
    severity?: "error" | "warning" | "lifecycle" | "good" | "news";
    /** The number of records in each bucket; empty if there are too many names. */
    spark: number[];
  }[] };
  /** The damaged parts of the window, as far as the hub has read them since its start. Records that are lost are not counted. */
  damaged: DamagedRecords[];
  /** The first offset that is kept. */
  first: number;
  /** The offset of the last record. */
  head: number;
  /** The journal's own name: the same in every copy. */
  journal: string | null;
  /** For each facet, the names that are not listed. */
  other: { [name: string]: {
    /** Their records. */
    count: number;
    /** How many. */
    names: number;
  } };
  /** Whether the time for the request ended before all records were counted: ask again with `after` = `read_to`, and add the counts. */
  partial: boolean;
  /** The last record that was counted, if `partial`. */
  read_to?: number;
  /** The last offset in a sealed segment. */
  sealed: number;
  /** The begin of the window. If a bucket is a minute or longer, the window is widened to whole minutes. Microseconds since the Unix epoch. */
  since: number;
  /** All records that match. */
  total: number;
  /** The end of the window. Microseconds since the Unix epoch. */
  until: number;
};

export type CountsResponse = Counts;

/** A range of damaged records. */
export type DamagedRecords = {
  /** A description of the damage. */
  desc: string;
  /** The offset of the first record. */
  first: number;
  /** The offset of the last record. */
  last: number;
  /** Whether records are lost to readers; if false, the damage is of an index. */
  lost: boolean;
};

/** The epoch closed: what happens before the next `attached` is unknown. */
export type DetachedRecord = {
  /** The end of certainty: everything received up to then is recorded. A gap begins here. Records of earlier releases lack it. */
  certain_until?: string;
  /** Details, for people. */
  detail?: string;
  /** The span of certainty, counted from 1. */
  epoch: number;
  host?: HostName;
  kind: "detached";
  /** Its position in the journal; the first is 1. */
  offset: number;
  /** The reason: `peer closed`, `overrun`, `hub stopped`, `removed`, `records lost`, `source lost`. */
  reason: string;
  /** When the hub received it. RFC 3339 in UTC, with six digits. */
  received: string;
  /** Its position in the epoch; `attached` is 0. */
  seq: number;
  vm: VmName;
};

export type Error = {
  error: {
    /** A word for programs. */
    class: string;
    /** The fault, and what to do. */
    desc: string;
  };
};

export type EventDescription = {
  /** The build option or target that it needs. */
  condition: string | null;
  /** First release in which it is deprecated. */
  deprecated: string | null;
  /** When QEMU exits after it. */
  ends: {
    /** Members, each with the values that it may have. */
    members: { [name: string]: unknown[] };
    /** A note. */
    note: string | null;
    /** An option with which QEMU must have been started. */
    option: string | null;
    /** First release to which it no longer applies. */
    removed: string | null;
    /** First release to which it applies. */
    since: string | null;
    /** An option with which it must not. */
    unless_option: string | null;
    /** When, in words. */
    when: string;
  }[];
  /** A whole message. */
  example: { [name: string]: unknown } | null;
  /** Members of `data`. */
  members: {
    /** The build option or target that it needs. */
    condition: string | null;
    /** First release in which it is deprecated. */
    deprecated: string | null;
    /** Type in JSON. */
    json_type: string;
    /** Name, with dots where it is nested. */
    name: string;
    /** Whether it may be absent. */
    optional: boolean;
    /** First release without it. */
    removed: string | null;
    /** First release that has it. */
    since: string | null;
    /** Its meaning. */
    summary: string;
    /** QAPI type. */
    type: string;
    /** Unit of a number. */
    unit: string | null;
    /** Whether QEMU calls it unstable. */
    unstable: boolean;
    /** The values of an enum. */
    values: unknown[] | null;
    /** When it is present. */
    when: unknown;
  }[];
  /** QAPI module that defines it. */
  module: string;
  /** Name on the wire. */
  name: string;
  notes: string[];
  /** First release without it. */
  removed: string | null;
  /** The events that this one announces. */
  sequels: {
    /** The event that follows. */
    event: string;
    /** Members, each with the values that it may have. */
    members: { [name: string]: unknown[] };
    /** A note. */
    note: string | null;
    /** An option with which QEMU must have been started. */
    option: string | null;
    /** First release to which it no longer applies. */
    removed: string | null;
    /** First release to which it applies. */
    since: string | null;
    /** An option with which it must not. */
    unless_option: string | null;
    /** When it follows, in words. */
    when: string;
    /** What its members mean. */
    with: { [name: string]: unknown[] };
  }[];
  /** First release that has it. */
  since: string;
  /** Where the facts come from. */
  source: string;
  /** What the event reports. */
  summary: string;
  /** The rate limit. */
  throttle: {
    /** What is exempt from the limit, in words. */
    exempt: string | null;
    /** The same for programs. */
    exempt_if: { [name: string]: unknown } | null;
    /** Shortest time between two events of one key. */
    interval_ms: number;
    /** The member whose values are limited separately. */
    key: string | null;
  } | null;
  /** Whether QEMU calls it unstable. */
  unstable: boolean;
};

/** The VM reported an event. */
export type EventRecord = {
  /** As the VM sent it. */
  data?: unknown;
  /** The span of certainty, counted from 1. */
  epoch: number;
  /** Its name, such as `STOP`, of at most 256 bytes. */
  event: string;
  host?: HostName;
  kind: "event";
  /** Its position in the journal; the first is 1. */
  offset: number;
  /** When the hub received it. RFC 3339 in UTC, with six digits. */
  received: string;
  /** Its name as the VM wrote it, if `event` is shortened or changed. */
  sent_name?: string;
  /** Its position in the epoch; `attached` is 0. */
  seq: number;
  /** The VM's host's clock. */
  timestamp?: {
    microseconds: number;
    seconds: number;
  };
  vm: VmName;
};

export type ExecuteResponse = Reply;

/** A conclusion of a correlator. */
export type FindingRecord = {
  /** The records that show it. */
  causes: [number, number][];
  /** Further members, by kind. */
  data?: { [name: string]: unknown };
  /** The span of certainty, counted from 1. */
  epoch: number;
  /** Its kind, such as `vm-stopped`. */
  finding: string;
  host?: HostName;
  kind: "finding";
  /** Its position in the journal; the first is 1. */
  offset: number;
  /** When the hub received it. RFC 3339 in UTC, with six digits. */
  received: string;
  /** Its position in the epoch; `attached` is 0. */
  seq: number;
  /** One sentence for people. */
  summary: string;
  vm: VmName;
};

export type Findings = {
  findings: {
    /** Epoch and number of the records from which it was concluded. */
    causes: [number, number][];
    /** The kind of the finding. */
    finding: string;
    /** When it began. Microseconds since the Unix epoch. */
    from: number;
    host?: HostName;
    /** Its record. */
    offset: number;
    /** Whether it lasted at the end of the window. */
    open: boolean;
    /** One sentence for people; empty if the record is kept no longer. */
    summary: string;
    /** When it ended; null if it lasted at the end of the window. Microseconds since the Unix epoch. */
    to: number | null;
    /** The VM's name. */
    vm: string;
  }[];
  /** The value of `after` for the next entries; null if there are none. */
  next: number | null;
};

export type FindingsResponse = Findings;

/** A stream of NATS JetStream with records of other hosts. */
export type FleetSource = {
  /** The number of the last message of the stream, as far as it is known. */
  head: number;
  /** Journals of hosts that lack records, which their hubs were asked for. */
  holes: number;
  /** Messages of the stream that were not read. */
  lag_records: number;
  /** The age of the last record that was read, while messages wait; else 0. */
  lag_seconds: number;
  /** Holes that were given up since the hub started: their records are lost. */
  lost: number;
  /** The number of the last message of the stream that is committed. */
  position: number;
  /** The fault, with what to do; null if there is none. */
  problem: string | null;
  /** Records that were committed since the hub started. */
  records: number;
  /** Messages that were discarded since the hub started because they are no records, or because their numbers are taken. */
  refused: number;
  /** Messages that were read again and discarded since the hub started. */
  repeated: number;
  /** The version of the server; null without a connection. */
  server_version: string | null;
  /** Since when it is in that state. RFC 3339 in UTC, with six digits. */
  since: string;
  /** The servers, without logins, and the stream. */
  source: string;
  /** `failing`: the stream cannot be read at present, and the hub retries; `problem` says why. */
  state: "connecting" | "reading" | "failing";
};

export type Gaps = {
  gaps: {
    /** The details, for people. */
    detail: string | null;
    /** The epoch after it; null if the gap lasts. */
    epoch_after: number | null;
    /** The epoch before it. */
    epoch_before: number;
    /** The last moment that is certain. Microseconds since the Unix epoch. */
    from: number;
    host?: HostName;
    /** The record that closed the epoch before it. */
    offset: number;
    /** Why the epoch before it closed. */
    reason: string;
    /** The first moment that is certain again; null if the gap lasts. Microseconds since the Unix epoch. */
    to: number | null;
    /** The VM's name. */
    vm: string;
  }[];
  /** The value of `after` for the next entries; null if there are none. */
  next: number | null;
};

export type GapsResponse = Gaps;

export type Health = {
  /** Faults outside the hub's own work; missing if there are none. */
  problems?: {
    /** `NoDescriptors`, `FleetSource`, `RuleFailing` or `RelayNotServed`. */
    class: string;
    /** The fault and what to do, for people. */
    desc: string;
  }[];
  status: "ok";
};

export type HealthResponse = Health;

/** The host of a VM of another host, whose hub recorded it. A host whose journal was created again has the suffix `~2`, `~3` and so on. Missing for a VM of this hu… */
export type HostName = string;

export type Hub = {
  /** The addresses at which the hub serves, as `qmp --hub` takes them: `unix:PATH`, `tcp:ADDRESS:PORT` or `https://ADDRESS:PORT`. */
  addresses: string[];
  /** The damaged parts of the journal, as far as the hub has read them since its start. */
  damaged: DamagedRecords[];
  /** The streams with records of other hosts; missing if the hub reads none. */
  from?: FleetSource[];
  /** The offset of the last record. */
  head: number;
  /** The journal's file. */
  journal: string;
  /** `writing`, or the time and reason of the stall. */
  journal_health: string;
  /** The journal's own name: 32 hexadecimal digits, the same in every copy of the file. */
  journal_id: string | null;
  /** Since when the journal cannot be written; null if it can. RFC 3339 in UTC, with six digits. */
  journal_stalled_since: string | null;
  /** The process id of the hub. */
  pid: number;
  /** When the hub started. RFC 3339 in UTC, with six digits. */
  started: string;
  /** Rules that are not delivering: their receiver is unreachable, or they cannot read the journal. */
  stuck_rules: string[];
  /** The hub's version. */
  version: string;
};

export type HubResponse = Hub;

/** One VM. */
export type Lane = {
  counts: BucketCounts;
  /** Offset; from; to (null: it had not ended by the end of the window); index of the kind; how many are drawn as one. */
  findings: ([number | null, number | null, number | null, number | null, number | null])[];
  /** Spans in which the VM was not watched: from, the last certain moment; to (null: it had not ended by the end of the window); index of the reason; how many are dr… */
  gaps: ([number | null, number | null, number | null, number | null])[];
  /** Offset, time and name of each event. Absent where there are more than `marks`. */
  marks?: ([number | string, number | string, number | string])[];
  /** From; to (null: it had not ended by the end of the window); index of the state; changes in it, 0 for a single state. A state that is shorter than a bucket is jo… */
  states: ([number | null, number | null, number | null, number | null])[];
  /** The VM's name. */
  vm: string;
};

export type LastEvent = {
  /** That of its record. */
  epoch: number;
  /** The event's name. */
  event: string;
  /** When it was received. RFC 3339 in UTC, with six digits. */
  received: string;
  /** That of its record. */
  seq: number;
};

export type NoteResponse = {
  /** The head of the journal after it. */
  offset: number;
};

export type OpenapiResponse = { [name: string]: unknown };

/** One record of the journal. */
export type Record = AttachedRecord | EventRecord | FindingRecord | DetachedRecord;

/** A record, with what belongs to it. */
export type RecordDetail = {
  after: {
    /** The nearest record of the same event; of the same kind for other records. */
    event: number | null;
    /** The nearest record of the VM. */
    vm: number | null;
  };
  before: {
    /** The nearest record of the same event; of the same kind for other records. */
    event: number | null;
    /** The nearest record of the VM. */
    vm: number | null;
  };
  /** The findings that were concluded from the record. */
  caused: FindingRecord[];
  /** The records from which a finding was concluded. */
  causes: Record[];
  /** The description of an event for the VM's release; null for other records and for an event that is not in the catalogue. */
  meaning: EventDescription | null;
  record: Record;
};

export type RecordOfVmResponse = RecordDetail;

export type RecordResponse = RecordDetail;

export type Relay = {
  /** Clients that were accepted since the hub started. */
  accepted: number;
  /** Connected clients. */
  clients: number;
  /** Clients that were closed because they did not read. */
  closed_slow: number;
  /** Commands that were passed to the VM. */
  commands: number;
  /** These clients, in the order in which they connected. */
  connected: {
    /** The name of its program. */
    comm: string | null;
    /** Its commands that were passed to the VM. */
    commands: number;
    /** Its process; null if the system did not report it. */
    pid: number | null;
    /** When it connected. RFC 3339 in UTC, with six digits. */
    since: string;
    /** Its user. */
    uid: number | null;
    /** The name of its user, or `uid N`. */
    user: string;
  }[];
  /** Why no client is served at the socket; missing if clients are. The hub tries again. */
  error?: string;
  /** The socket. */
  path: string;
  /** Commands that the role refused. */
  refused: number;
  /** The role of its clients. */
  role: "observe" | "operate";
  /** Connections that were closed because of their user or process. */
  turned_away: number;
  /** The VM. */
  vm: string;
};

export type RelaysResponse = Relay[];

/** The VM's reply: `return` or `error`. */
export type Reply = {
  error?: {
    /** QMP's error class. */
    class: string;
    /** The error in words. */
    desc: string;
  };
  /** `false` if the events before the reply were not committed when the reply was released; missing otherwise. */
  journaled?: boolean;
  /** The head when the reply was released. Every event that the VM sent before it is in the journal by then. */
  offset: number;
  /** The journal was full, and may lack events of that range. */
  overrun?: boolean;
  /** What the VM returned. */
  return?: unknown;
  /** The head before the command was sent. */
  since: number;
};

/** A job or a migration that has not concluded. */
export type Running = {
  /** Why it failed, for a concluded job. */
  error?: string;
  /** The job's id. */
  id?: string;
  /** When that was received. RFC 3339 in UTC, with six digits. */
  since: string;
  /** Its last status. */
  status: string;
  /** The job's type. */
  type?: string;
};

export type Silence = {
  /** The client that asked for it. */
  client: string;
  /** Why. */
  reason: string;
  /** The name of the rule; absent for all rules except those that take every record. */
  rule?: string;
  /** When it began. RFC 3339 in UTC, with six digits. */
  since: string;
  /** When it ends. */
  until: string;
  /** The pattern of the names of VMs. */
  vms: string;
};

export type SilenceResponse = {
  replaced?: Silence;
  /** When it ends. RFC 3339 in UTC, with six digits. */
  until: string;
  /** The VMs that match at present. */
  vms: string[];
};

export type SilencesResponse = Silence[];

export type Sink = {
  /** Records that were delivered. This and the other counts begin with the hub, or with the rule. */
  delivered: number;
  /** Attempts that failed. */
  failures: number;
  /** Records that were given up because the receiver refused them. */
  given_up: number;
  /** Records that `at-most` held back. */
  held_back: number;
  /** Held back records that no delivered record has counted yet. */
  held_back_waiting: number;
  /** The kind of the sink. */
  kind: "run" | "webhook" | "otlp" | "journald" | "file" | "nats";
  /** Records of the journal after that, of any kind. */
  lag_records: number;
  /** The last error. */
  last_error: string | null;
  /** The last record that was given up; missing if there is none. Counts and this begin with the hub, or with the rule. */
  last_given_up?: {
    /** When it was given up. RFC 3339 in UTC, with six digits. */
    at: string;
    /** Why the receiver refused it. */
    error: string;
    /** The record's offset in the journal. */
    offset: number;
    vm: VmName;
  };
  /** Records of the journal, of any kind, that were removed before the rule read them, or that cannot be read. */
  missed: number;
  /** Everything up to this offset is processed. */
  offset: number;
  /** A fault of the receiver that does not stop the deliveries, with what to do; missing if there is none. */
  problem?: string;
  /** The rule's name. */
  rule: string;
  /** Records that were not delivered because of a silence. */
  silenced: number;
  /** Since when it has been in that state. RFC 3339 in UTC, with six digits. */
  since: string;
  /** `retrying`: the receiver is unreachable or refuses; `blind`: the journal cannot be read. */
  state: "delivering" | "retrying" | "blind";
  /** The receiver, without secrets. */
  target: string;
};

export type SinksResponse = Sink[];

/** The lanes of VMs in a window. */
export type Timeline = {
  /** The length of a bucket, in microseconds. */
  bucket: number;
  /** The number of buckets. */
  buckets: number;
  /** The first offset that is kept. */
  first: number;
  /** The offset of the last record. */
  head: number;
  /** The journal's own name: the same in every copy. */
  journal: string | null;
  /** The kinds of findings that lanes name by their index. */
  kinds: string[];
  lanes: Lane[];
  /** The number of VMs that match. */
  lanes_total: number;
  /** The VM of the lane after the last one: the value of `from` for the next lanes. */
  next: string | null;
  /** Whether the time for the request ended before all records were counted: ask again with `after` = `read_to`, and add the counts. */
  partial: boolean;
  /** The last record that was counted, if `partial`. */
  read_to?: number;
  /** The reasons of gaps that lanes name by their index. */
  reasons: string[];
  /** The last offset in a sealed segment. */
  sealed: number;
  /** The severities, the most urgent first. */
  severities: string[];
  /** The begin of the window. If a bucket is a minute or longer, the window is widened to whole minutes. Microseconds since the Unix epoch. */
  since: number;
  /** The states that lanes name by their index: run states of QEMU; `ended` and `gone`, if QEMU ended; `unknown`, if the VM was not watched. */
  states: string[];
  total: BucketCounts;
  /** The end of the window. Microseconds since the Unix epoch. */
  until: number;
};

export type TimelineResponse = Timeline;

/** A VM in the list. */
export type Vm = {
  /** The address of its monitor, in QEMU's notation. */
  address: string;
  /** The other hosts on which the VM runs. Missing for a VM that runs on one host. */
  also_on?: HostName[];
  /** Since when the journal cannot be written: run state, reason and events are as of then. Missing while it can be written. */
  as_of?: string;
  /** The open epoch, or the last one. */
  epoch: number | null;
  /** Why the monitor is not attached. */
  error?: string;
  host?: HostName;
  last_event: LastEvent | null;
  /** The source of the VM: `configuration`, `command line`, `program`, or `discovery` and the rule that found it; `journal` for a VM that left; `fleet` for a VM of a… */
  origin: string;
  /** The reason, in one word, why the monitor is not attached, if a word is defined for it. `peer-closed`, `no-such-socket`, `refused`: QEMU has exited or has not st… */
  reason?: "peer-closed" | "no-such-socket" | "refused" | "permission-denied" | "unreachable" | "held" | "hung" | "not-a-monitor" | "unclear";
  /** Since when, as far as records show. RFC 3339 in UTC. */
  run_since: string | null;
  /** The name that `query-status` gives; `ended` if QEMU announced its exit, `gone` if the monitor closed without an announcement. Without a connection, the last kno… */
  run_state: string | null;
  /** Present, and true, if no event and no reply of the VM names the run state: only whether it runs is known. */
  run_state_assumed?: boolean;
  /** Since when an attached monitor has not answered: the time of the last message from it. Missing if it answers. RFC 3339 in UTC, with six digits. */
  silent_since?: string;
  /** Since when the connection is in that state; for a VM that left, the end of its last epoch. RFC 3339 in UTC, with six digits. */
  since: string;
  /** The state of the connection to the monitor. `connecting`: not attached since the hub started. `in-use`: the monitor accepts connections and does not greet; `rea… */
  state: "connecting" | "attached" | "detached" | "in-use" | "left";
  /** Since when a VM of another host has been running on several hosts at once, by a finding `two-hosts` that is not over; `also_on` has the other hosts. Missing oth… */
  two_hosts_since?: string;
  /** Why an attached monitor does not answer, as far as the host shows: its process is stopped, waits for the kernel, or QEMU hangs or is busy. Present if the monito… */
  unresponsive?: string;
  vm: VmName;
  why: Why | null;
};

/** Everything known about a VM. */
export type VmAlone = {
  /** The address of its monitor, in QEMU's notation. */
  address: string;
  /** The other hosts on which the VM runs. Missing for a VM that runs on one host. */
  also_on?: HostName[];
  /** Since when the journal cannot be written: run state, reason and events are as of then. Missing while it can be written. */
  as_of?: string;
  /** Whether the epoch is open. */
  attached: boolean;
  /** How the epoch closed. */
  detached?: {
    /** When that was recorded. RFC 3339 in UTC, with six digits. */
    at: string;
    /** The end of certainty: everything received up to then is recorded. */
    certain_until: string;
    /** Details, for people. */
    detail?: string;
    /** The reason, such as `peer closed`. */
    reason: string;
  };
  /** The latest epoch. */
  epoch: number | null;
  /** Why the monitor is not attached. */
  error?: string;
  host?: HostName;
  /** Present if records are missing in the latest epoch or right before it: removed by retention, or unreadable. The state is that of the other records. */
  incomplete?: {
    /** The last record before them: epoch and number. Missing if there is none. */
    after?: [number, number];
    /** The first record after them: epoch and number. */
    before: [number, number];
  };
  /** Jobs that have not concluded, and those that wait for `job-dismiss`: their status is `concluded`. */
  jobs: Running[];
  /** The last events of the epoch, oldest first. */
  last_events: LastEvent[];
  migration?: Running;
  /** The VM's own name (`-name`). */
  name?: string;
  /** The source of the VM: `configuration`, `command line`, `program`, or `discovery` and the rule that found it. */
  origin: string;
  /** QEMU's version. */
  qemu: string | null;
  /** The reason, in one word, why the monitor is not attached, if a word is defined for it. `peer-closed`, `no-such-socket`, `refused`: QEMU has exited or has not st… */
  reason?: "peer-closed" | "no-such-socket" | "refused" | "permission-denied" | "unreachable" | "held" | "hung" | "not-a-monitor" | "unclear";
  /** The sockets that the hub serves in its place. */
  relays: Relay[];
  /** Since when, as far as records show. RFC 3339 in UTC. */
  run_since: string | null;
  /** The name that `query-status` gives; `ended` if QEMU announced its exit, `gone` if the monitor closed without an announcement. Without a connection, the last kno… */
  run_state: string | null;
  /** Present, and true, if no event and no reply of the VM names the run state: only whether it runs is known. */
  run_state_assumed?: boolean;
  /** Since when an attached monitor has not answered: the time of the last message from it. Missing if it answers. RFC 3339 in UTC, with six digits. */
  silent_since?: string;
  /** Since when it has been in that state. RFC 3339 in UTC, with six digits. */
  since: string;
  /** The state of the connection to the monitor. `connecting`: not attached since the hub started. `in-use`: the monitor accepts connections and does not greet; `rea… */
  state: "connecting" | "attached" | "detached" | "in-use";
  /** Since when a VM of another host has been running on several hosts at once, by a finding `two-hosts` that is not over; `also_on` has the other hosts. Missing oth… */
  two_hosts_since?: string;
  /** Why an attached monitor does not answer, as far as the host shows: its process is stopped, waits for the kernel, or QEMU hangs or is busy. Present if the monito… */
  unresponsive?: string;
  /** Its UUID. */
  uuid?: string;
  vm: VmName;
  why: Why | null;
};

/** The VM's name, as the hub's configuration has it. */
export type VmName = string;

export type VmResponse = VmAlone;

export type VmsResponse = Vm[];

/** Why a VM is in its run state. */
export type Why = {
  /** What caused it. */
  by: "guest" | "host" | "qemu" | "unknown";
  /** A word for programs, such as `io-error` or `guest-shutdown`. */
  cause: string;
  /** The records that show it. */
  causes: [number, number][];
  /** Further members, by cause. */
  details?: { [name: string]: unknown };
  /** One sentence for people. */
  summary: string;
};

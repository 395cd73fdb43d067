// A fleet that never was: some days of records, the same on each run.

import type { EventDescription, HubRecord } from "../src/api.ts";
import { toRfc3339 } from "../src/time.ts";

const SECOND = 1e6;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Numbers that look random, and are the same each time. */
export function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Draft {
  at: number;
  make(offset: number, epoch: number, seq: number): HubRecord;
  opens?: boolean;
}

class Life {
  readonly drafts: Draft[] = [];
  private readonly vm: string;
  private epoch = 0;
  private seq = 0;

  constructor(vm: string) {
    this.vm = vm;
  }

  attached(at: number, status = "running"): void {
    this.epoch += 1;
    this.seq = -1;
    const snapshot = {
      greeting: { version: { qemu: { major: 9, minor: 2, micro: 1 } } },
      "query-status": { status, running: status === "running" },
    };
    this.add(at, (head) => ({ ...head, kind: "attached", snapshot }));
  }

  detached(at: number, reason: string, detail: string): void {
    this.add(at, (head) => ({ ...head, kind: "detached", reason, detail, certain_until: toRfc3339(at) }));
  }

  event(at: number, event: string, data?: unknown): number {
    const timestamp = { seconds: Math.floor(at / SECOND), microseconds: Math.floor(at % SECOND) };
    return this.add(at, (head) => ({
      ...head,
      kind: "event",
      event,
      timestamp,
      ...(data === undefined ? {} : { data }),
    }));
  }

  finding(
    at: number,
    finding: string,
    summary: string,
    causes: number[],
    data: { [member: string]: unknown },
  ): void {
    const { epoch } = this;
    const positions = causes.map((seq): [number, number] => [epoch, seq]);
    this.add(at, (head) => ({ ...head, kind: "finding", finding, summary, causes: positions, data }));
  }

  private add(at: number, make: (head: Omit<HubRecord, "kind"> & { offset: number }) => HubRecord): number {
    this.seq += 1;
    const { vm, epoch, seq } = this;
    const received = toRfc3339(at);
    this.drafts.push({ at, make: (offset) => make({ offset, vm, epoch, seq, received }) });
    return seq;
  }
}

/** Records of `vms` VMs over `days` before `end`, in the order of time. */
export function fleet(vms: readonly string[], end: number, days: number): HubRecord[] {
  const begin = end - days * DAY;
  const drafts = vms.flatMap((vm, index) => live(new Life(vm), index, begin, end));
  drafts.sort((a, b) => a.at - b.at);
  return drafts.map((draft, index) => draft.make(index + 1, 0, 0));
}

function live(life: Life, index: number, begin: number, end: number): Draft[] {
  const random = dice(index * 7919 + 17);
  const spread = (mean: number): number => mean * (0.3 + 1.4 * random());
  let at = begin + spread(20 * MINUTE);
  life.attached(at);
  // The hub itself was down once, for all of its VMs.
  const outage = end - 0.42 * DAY;
  let isOut = false;
  while (at < end - 3 * MINUTE) {
    if (!isOut && at > outage) {
      isOut = true;
      life.detached(outage + index * 2_000, "hub stopped", "the hub was asked to stop");
      at = outage + 38 * MINUTE + index * 9_000;
      life.attached(at);
    }
    at += spread(index % 5 === 2 ? 25 * MINUTE : 2 * HOUR);
    if (at > end - 2 * MINUTE || (!isOut && at > outage - MINUTE)) {
      if (!isOut) {
        at = outage + 1;
        continue;
      }
      break;
    }
    at = scene(life, at, random, end, isOut ? end : outage);
  }
  return life.drafts.filter((draft) => draft.at <= end);
}

function scene(life: Life, start: number, random: () => number, end: number, limit: number): number {
  let at = start;
  const kind = random();
  const later = (span: number): number => {
    at = Math.min(at + span * (0.5 + random()), limit - 30 * SECOND, end);
    return at;
  };
  if (kind < 0.16) {
    const data = {
      device: "drive0",
      "node-name": "disk0-format",
      "qom-path": "/machine/peripheral/disk0/virtio-backend",
      operation: "write",
      action: "stop",
      nospace: true,
      reason: "No space left on device",
    };
    const error = life.event(at, "BLOCK_IO_ERROR", data);
    const stop = life.event(at + 60, "STOP");
    life.finding(
      at + 900,
      "why-paused",
      "A write to disk drive0 failed (No space left on device), and QEMU paused it until `cont`, which tries again.",
      [error, stop],
      { by: "qemu", cause: "io-error", run_state: "io-error", nospace: true },
    );
    const resume = life.event(later(22 * MINUTE), "RESUME");
    life.finding(at + 10_000, "query", "query-status: running", [resume], {
      execute: "query-status",
      return: { running: true, status: "running" },
      run_state: "running",
    });
  } else if (kind < 0.26) {
    const expired = life.event(at, "WATCHDOG", { action: "reset" });
    const reset = life.event(at + 75, "RESET", { guest: true, reason: "guest-reset" });
    life.finding(
      at + 600,
      "why-reset",
      "Its watchdog expired, because the guest did not answer, and QEMU reset it.",
      [expired, reset],
      { by: "guest", cause: "watchdog" },
    );
  } else if (kind < 0.34) {
    const shutdown = life.event(at, "SHUTDOWN", { guest: true, reason: "guest-shutdown" });
    life.detached(at + 900, "peer closed", "the VM closed the connection");
    life.finding(at + 1_000, "why-ended", "The guest shut down, and QEMU exited.", [shutdown], {
      by: "guest",
      cause: "guest-shutdown",
      run_state: "ended",
    });
    life.attached(later(50 * MINUTE));
  } else if (kind < 0.44) {
    const stop = life.event(at, "STOP");
    life.finding(
      at + 500,
      "why-paused",
      "It was paused by `stop`, from uid 1000 pid 4711 (virsh) at /run/hub.sock.",
      [stop],
      { by: "host", cause: "host-stop", run_state: "paused" },
    );
    life.event(later(15 * MINUTE), "RESUME");
  } else if (kind < 0.52) {
    life.event(at, "JOB_STATUS_CHANGE", { id: "backup0", status: "running" });
    life.event(later(9 * MINUTE), "BLOCK_JOB_COMPLETED", {
      device: "backup0",
      len: 21_474_836_480,
      offset: 21_474_836_480,
      speed: 0,
      type: "backup",
    });
  } else if (kind < 0.57) {
    const first = life.event(at, "BLOCK_IO_ERROR", {
      device: "drive1",
      "node-name": "data",
      operation: "read",
      action: "report",
      nospace: false,
      reason: "Input/output error",
    });
    for (let count = 0; count < 90; count += 1) {
      at += 900_000 + 400_000 * random();
      life.event(at, "BLOCK_IO_ERROR", {
        device: "drive1",
        "node-name": "data",
        operation: "read",
        action: "report",
        nospace: false,
        reason: "Input/output error",
      });
    }
    life.finding(at, "storm", "BLOCK_IO_ERROR came 91 times in 102 s.", [first], { event: "BLOCK_IO_ERROR" });
  } else {
    const names = [
      "RTC_CHANGE",
      "VSERPORT_CHANGE",
      "NIC_RX_FILTER_CHANGED",
      "VNC_CONNECTED",
      "BALLOON_CHANGE",
    ];
    const name = names[Math.floor(random() * names.length)] ?? "RTC_CHANGE";
    life.event(at, name, { id: "channel0", open: random() > 0.5 });
  }
  return at;
}

export function description(
  name: string,
  summary: string,
  more: Partial<EventDescription> = {},
): EventDescription {
  return {
    name,
    module: "qapi/run-state.json",
    since: "0.12",
    removed: null,
    deprecated: null,
    unstable: false,
    condition: null,
    summary,
    notes: [],
    members: [],
    throttle: null,
    sequels: [],
    ends: [],
    example: null,
    source: "qapi",
    ...more,
  };
}

function member(name: string, type: string, summary: string): EventDescription["members"][number] {
  return {
    name,
    type,
    summary,
    json_type: "string",
    optional: false,
    since: "0.13",
    removed: null,
    values: null,
    deprecated: null,
    unstable: false,
    condition: null,
    unit: null,
  };
}

export const CATALOGUE: EventDescription[] = [
  description("STOP", "The VM stopped: its virtual CPUs do not run."),
  description("RESUME", "The VM runs again."),
  description("RESET", "The machine was reset."),
  description("SHUTDOWN", "The machine was shut down, or asked to be."),
  description("WATCHDOG", "The watchdog device expired.", {
    members: [member("action", "WatchdogAction", "What QEMU does now.")],
  }),
  description("BLOCK_IO_ERROR", "A disk reported an error to a request of the guest.", {
    module: "qapi/block-core.json",
    since: "0.13",
    throttle: { interval_ms: 1_000, key: "qom-path", exempt: "with action stop" },
    members: [
      member("device", "str", "Name of the block device; empty when it has none."),
      member("node-name", "str", "Name of the node in the block graph."),
      member("qom-path", "str", "Path of the disk device in the object tree; may be empty."),
      { ...member("operation", "IoOperationType", "What the guest wanted."), values: ["read", "write"] },
      { ...member("action", "BlockErrorAction", "What QEMU does."), values: ["ignore", "report", "stop"] },
      member("nospace", "bool", "Whether the storage is full."),
      member("reason", "str", "The error in words, for people."),
    ],
    sequels: [
      {
        event: "STOP",
        when: "with action stop",
        option: null,
        unless_option: null,
        since: null,
        removed: null,
        note: null,
      },
    ],
  }),
];

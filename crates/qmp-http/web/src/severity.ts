// How urgent events are. The names are those of the timeline's counts, the most urgent first.

export const SEVERITIES = ["error", "warning", "lifecycle", "good", "news"] as const;

export type Severity = (typeof SEVERITIES)[number];

export const SEVERITY_TEXTS: { [severity in Severity]: string } = {
  error: "Errors",
  warning: "Warnings",
  lifecycle: "Lifecycle",
  good: "Recoveries",
  news: "Other",
};

/** Every event that is not "news", as `EventSeverity` in crates/qmp-events has it; a test compares the two. */
const EVENTS: { [severity in Exclude<Severity, "news">]: string[] } = {
  error: [
    "BLOCK_IMAGE_CORRUPTED",
    "BLOCK_IO_ERROR",
    "BLOCK_JOB_ERROR",
    "GUEST_PANICKED",
    "MEMORY_FAILURE",
    "QUORUM_FAILURE",
  ],
  warning: [
    "BLOCK_WRITE_THRESHOLD",
    "COLO_EXIT",
    "DEVICE_UNPLUG_GUEST_ERROR",
    "GUEST_CRASHLOADED",
    "MEM_UNPLUG_ERROR",
    "NETDEV_STREAM_DISCONNECTED",
    "NETDEV_VHOST_USER_DISCONNECTED",
    "QUORUM_REPORT_BAD",
    "VFU_CLIENT_HANGUP",
    "WATCHDOG",
  ],
  lifecycle: ["GUEST_PVSHUTDOWN", "POWERDOWN", "RESET", "SHUTDOWN", "STOP", "SUSPEND", "SUSPEND_DISK"],
  good: ["BLOCK_JOB_COMPLETED", "DUMP_COMPLETED", "RESUME", "WAKEUP"],
};

const SEVERITY_OF = new Map<string, Severity>(
  SEVERITIES.flatMap((severity) =>
    severity === "news" ? [] : EVENTS[severity].map((event): [string, Severity] => [event, severity]),
  ),
);

export function severityOf(event: string): Severity {
  return SEVERITY_OF.get(event) ?? "news";
}

/** The events of the severities; `null` if they cannot be listed, because "news" has the unknown events too. */
export function eventsOf(severities: readonly Severity[]): string[] | null {
  const names: string[] = [];
  for (const severity of severities) {
    if (severity === "news") return null;
    names.push(...EVENTS[severity]);
  }
  return names;
}

export function asSeverity(name: string): Severity | null {
  return SEVERITIES.find((severity) => severity === name) ?? null;
}

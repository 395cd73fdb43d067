// The looks of a run state. Four of them must never be confused: a VM that runs quietly, a VM that is off, a VM whose
// state is unknown, and a time in which nothing was watched (a gap, which is not a state).

export type StateLook = "running" | "stopped" | "trouble" | "off" | "unknown";

const TROUBLE = ["io-error", "internal-error", "guest-panicked", "watchdog"];
const OFF = ["ended", "gone"];

export function stateLook(state: string | null): StateLook {
  if (state === null || state === "" || state === "unknown") return "unknown";
  if (state === "running") return "running";
  if (OFF.includes(state)) return "off";
  if (TROUBLE.includes(state)) return "trouble";
  return "stopped";
}

/** The run state in words; QEMU's own name is understood by its users, so it stays where there is one. */
export function stateText(state: string | null): string {
  switch (state) {
    case null:
    case "":
    case "unknown":
      return "unknown";
    case "ended":
      return "off";
    case "gone":
      return "off, not announced";
    default:
      return state;
  }
}

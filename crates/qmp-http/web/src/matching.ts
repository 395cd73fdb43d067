// The filters of the page, applied to a record.

import type { HubRecord } from "./api.ts";
import type { Filters } from "./location.ts";
import { severityOf } from "./severity.ts";

export function matches(record: HubRecord, filters: Filters): boolean {
  if (filters.vm.length > 0 && !filters.vm.some((pattern) => matchesVm(pattern, record.vm))) return false;
  if (filters.host.length > 0 && !filters.host.some((pattern) => matchesHost(pattern, record.vm)))
    return false;
  return matchesKind(record, filters) && matchesText(record, filters.text);
}

function matchesKind(record: HubRecord, filters: Filters): boolean {
  const { event, finding, severity } = filters;
  if (event.length + finding.length + severity.length === 0) return true;
  switch (record.kind) {
    case "event":
      if (event.length > 0) return event.some((pattern) => matchesGlob(pattern, record.event));
      return severity.length > 0 && severity.includes(severityOf(record.event));
    case "finding":
      if (finding.length > 0) return finding.includes(record.finding);
      return event.length === 0;
    default:
      return severity.includes("news") && event.length + finding.length === 0;
  }
}

/** Whether the record's JSON has the text, in whichever case. */
export function matchesText(record: HubRecord, text: string): boolean {
  return text === "" || JSON.stringify(record).toLowerCase().includes(text.toLowerCase());
}

/** Whether a VM matches: by its name on its host, with a `/` in the pattern by `HOST/VM`, and with a `/` in front only on this host. */
export function matchesVm(pattern: string, name: string): boolean {
  if (pattern.startsWith("/")) return !name.includes("/") && matchesGlob(pattern.slice(1), name);
  return matchesGlob(pattern, pattern.includes("/") ? name : name.slice(name.indexOf("/") + 1));
}

/** Whether the VM is one of another host that matches. */
export function matchesHost(pattern: string, name: string): boolean {
  const end = name.indexOf("/");
  return end > 0 && matchesGlob(pattern, name.slice(0, end));
}

/** The patterns of the hub: `*`, `?` and classes; a backslash takes the meaning from the next character. */
export function matchesGlob(pattern: string, name: string): boolean {
  const source = pattern.replace(/\\(.)|\[!?[^\]]+\]|[*?]|[.+^${}()|[\]\\]/gs, (found, escaped: string) => {
    if (escaped !== undefined) return escaped.replace(/[^\w]/g, "\\$&");
    if (found === "*") return ".*";
    if (found === "?") return ".";
    if (found.length > 2 && found.startsWith("[")) return found.replace(/^\[!/, "[^");
    return `\\${found}`;
  });
  return new RegExp(`^(?:${source})$`, "su").test(name);
}

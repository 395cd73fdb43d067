// The members of a record's data, with what the catalogue says of them.

import type { EventDescription, EventMember, HubRecord } from "./api.ts";
import { visible, withUnit } from "./text.ts";

export interface Member {
  /** Names with dots between them; an element of a list has its number. */
  path: string;
  value: unknown;
  /** The member of the catalogue; `null` if it has none, as for a QEMU that is newer. */
  entry: EventMember | null;
}

/** Every simple value of the data, in the order of the message. */
export function members(data: unknown, meaning: EventDescription | null): Member[] {
  const found: Member[] = [];
  const walk = (value: unknown, path: string, name: string): void => {
    if (Array.isArray(value) && value.length > 0) {
      for (const [index, element] of value.entries()) walk(element, `${path}[${index}]`, name);
    } else if (typeof value === "object" && value !== null && Object.keys(value).length > 0) {
      for (const [key, inner] of Object.entries(value)) {
        walk(inner, path === "" ? key : `${path}.${key}`, name === "" ? key : `${name}.${key}`);
      }
    } else if (path !== "") {
      found.push({ path, value, entry: meaning?.members.find((member) => member.name === name) ?? null });
    }
  };
  walk(data, "", "");
  return found;
}

/** The value as text, with its unit. */
export function valueText(value: unknown, unit: string | null): string {
  if (typeof value === "number" && unit !== null) return withUnit(value, unit);
  if (typeof value === "string") return value === "" ? "(empty)" : visible(value);
  return visible(JSON.stringify(value) ?? "");
}

/** The record in few words, for one line of the list. */
export function summary(record: HubRecord): string {
  switch (record.kind) {
    case "attached": {
      const status = record.snapshot["query-status"] as { status?: unknown } | undefined;
      return `watched from here on${typeof status?.status === "string" ? `, ${status.status}` : ""}`;
    }
    case "detached":
      return `not watched from here on: ${record.reason}${record.detail === undefined ? "" : ` (${record.detail})`}`;
    case "finding":
      return record.summary;
    case "event":
      return members(record.data, null)
        .map(({ path, value }) => {
          return `${path}=${typeof value === "string" && value !== "" ? value : JSON.stringify(value)}`;
        })
        .join(" ");
  }
}

/** The name of a record: that of the event or of the finding. */
export function recordName(record: HubRecord): string {
  switch (record.kind) {
    case "event":
      return record.event;
    case "finding":
      return record.finding;
    default:
      return record.kind;
  }
}

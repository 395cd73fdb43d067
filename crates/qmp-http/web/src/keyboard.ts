// The keys of the page. Letters are known by their place on the keyboard, so that WASD is one block on every layout.

import { useEffect, useRef } from "preact/hooks";
import type { RecordDetail, Timeline } from "./api.ts";
import type { Filters } from "./location.ts";
import type { Page } from "./page.ts";
import { dateAndClock, duration, fromRfc3339, now } from "./time.ts";
import { between, current, DEFAULT_SPAN, liveView, pan, showing, span, zoom } from "./view.ts";

export interface KeyTargets {
  page: Page;
  timeline: Timeline | null;
  detail: RecordDetail | null;
  help(): void;
}

const PAN = 0.25;
const ZOOM = 1.6;

export function useKeys(targets: KeyTargets): void {
  const latest = useRef(targets);
  latest.current = targets;
  useEffect(() => {
    const down = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const isTyping = event.target instanceof Element && event.target.matches("input, select, textarea");
      if (isTyping) {
        if (event.key === "Escape") (event.target as HTMLElement).blur();
        return;
      }
      if (document.querySelector("dialog[open]") !== null) return;
      const act = action(event, latest.current);
      if (act === null) return;
      event.preventDefault();
      act();
    };
    window.addEventListener("keydown", down);
    return () => window.removeEventListener("keydown", down);
  }, []);
}

/** What the key does here; `null` if nothing. */
function action(event: KeyboardEvent, targets: KeyTargets): (() => void) | null {
  const { page } = targets;
  const { state, go } = page;
  const view = current(state.view, now());
  const step = (share: number) => () => go({ view: pan(view, share, now()) }, "gesture");
  const scale = (factor: number) => () =>
    go({ view: zoom(view, factor, view.live ? 1 : 0.5, now()) }, "gesture");
  switch (event.key) {
    case "+":
    case "=":
      return scale(1 / ZOOM);
    case "-":
      return scale(ZOOM);
    case "0":
      return () => go({ view: liveView(now(), DEFAULT_SPAN) });
    case "?":
      return targets.help;
    case "/":
      return () => document.getElementById("search")?.focus();
    case "[":
      return () => toGap(targets, -1);
    case "]":
      return () => toGap(targets, 1);
    case "Escape":
      return state.record === null ? null : () => page.select(null);
    case "ArrowLeft":
      return step(-PAN);
    case "ArrowRight":
      return step(PAN);
  }
  // Up and down scroll the page unless the lanes have the focus; with Shift they zoom everywhere.
  if (event.shiftKey && event.key === "ArrowUp") return scale(1 / ZOOM);
  if (event.shiftKey && event.key === "ArrowDown") return scale(ZOOM);
  switch (event.code) {
    case "KeyA":
      return step(-PAN);
    case "KeyD":
      return step(PAN);
    case "KeyW":
      return scale(1 / ZOOM);
    case "KeyS":
      return scale(ZOOM);
    case "KeyF":
      return () => fit(targets);
    case "KeyL":
      return () => go({ view: view.live ? { ...view, live: false } : liveView(now(), span(view)) });
    case "KeyN":
      return () => toFinding(targets, 1);
    case "KeyP":
      return () => toFinding(targets, -1);
    case "KeyE":
      return () => go({ filters: onlyTrouble(state.filters) });
    case "KeyT":
      return () => go({ table: !state.table });
    default:
      return null;
  }
}

function onlyTrouble(filters: Filters): Filters {
  const isOn =
    filters.severity.length === 2 && filters.severity[0] === "error" && filters.severity[1] === "warning";
  return { ...filters, severity: isOn ? [] : ["error", "warning"] };
}

/** Makes the chosen record, its causes and its effects fill most of the view. */
function fit({ page, detail }: KeyTargets): void {
  if (detail === null) return page.announce("No record is chosen");
  const times = [detail.record, ...detail.causes, ...detail.caused].map((record) =>
    fromRfc3339(record.received),
  );
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const margin = Math.max(1e6, (last - first) * 0.3);
  page.go({ view: between(first - margin, last + margin, now()) });
}

interface Stop {
  vm: string;
  from: number;
  to: number | null;
  offset: number | null;
  text: string;
}

function toGap(targets: KeyTargets, direction: 1 | -1): void {
  const { timeline } = targets;
  const stops = (timeline?.lanes ?? []).flatMap((lane) =>
    lane.gaps.map(([from, to, reason]): Stop => {
      const text = `not watched for ${duration((to ?? now()) - from)}: ${timeline?.reasons[reason] ?? ""}`;
      return { vm: lane.vm, from, to, offset: null, text };
    }),
  );
  follow(targets, stops, direction, "gap");
}

function toFinding(targets: KeyTargets, direction: 1 | -1): void {
  const { timeline } = targets;
  const stops = (timeline?.lanes ?? []).flatMap((lane) =>
    lane.findings.map(([offset, from, to, kind]): Stop => {
      return { vm: lane.vm, from, to, offset, text: `finding ${timeline?.kinds[kind] ?? ""}` };
    }),
  );
  follow(targets, stops, direction, "finding");
}

/** The moment from which the next stop is searched: that of the last one, as long as the view shows it. */
let last = { at: 0, noun: "" };

function follow({ page }: KeyTargets, stops: Stop[], direction: 1 | -1, noun: string): void {
  const view = current(page.state.view, now());
  const isOngoing = last.noun === noun && last.at >= view.since && last.at <= view.until;
  const start = isOngoing ? last.at : direction > 0 ? view.since - 1 : view.until + 1;
  const sorted = stops.sort((a, b) => a.from - b.from);
  const next =
    direction > 0 ? sorted.find((stop) => stop.from > start) : sorted.findLast((stop) => stop.from < start);
  if (next === undefined) return page.announce(`No ${direction > 0 ? "later" : "earlier"} ${noun} here`);
  last = { at: next.from, noun };
  page.announce(`${next.vm}: ${next.text}, ${dateAndClock(next.from)}`);
  page.go({ view: showing(view, next.from, now()) }, "gesture");
  if (next.offset !== null) page.selectOffset(next.offset);
}

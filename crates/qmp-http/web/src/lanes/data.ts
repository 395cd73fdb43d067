// The timeline of the hub for the lanes on the screen, and the overview of all lanes.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Lane, Timeline } from "../api.ts";
import { type Fetched, useFetched } from "../fetching.ts";
import type { Filters } from "../location.ts";
import { overlay } from "../overlay.ts";
import { usePage } from "../page.ts";
import { now } from "../time.ts";
import { withoutOffGaps } from "../unwatched.ts";
import { current, span } from "../view.ts";

/** Lanes of one request beside those that the screen has room for, so that a short way of scrolling needs no other. */
const SPARE_LANES = 10;
const LANES_MAX = 100;
/** Lanes of the overview, one pixel each: the most that the hub gives at once. */
const OVERVIEW_LANES = 1_000;
const OVERVIEW_BUCKETS = 96;
const MARKS_MAX = 2_000;
/** The pause of a gesture after which the hub is asked. */
const SETTLE_MS = 70;
/** A live timeline is read again so long after its last answer, if there were records. */
const REFRESH_MS = 2_000;

export interface LaneData {
  timeline: Timeline | null;
  /** Index of the first lane of `timeline` among all. */
  first: number;
  overview: Timeline | null;
  error: string | null;
  isLoading: boolean;
}

/** Reads the lanes from the `wanted`-th on, for a screen of this width where a lane has this height. */
export function useLaneData(filters: Filters, wanted: number, width: number, laneHeight: number): LaneData {
  const { client, state, live } = usePage();
  const { view, sort } = state;
  const refresh = useRefresh(view.live ? live.batch : 0);
  const range = view.live ? `live ${span(view)} ${refresh}` : `${view.since} ${view.until}`;
  const chosen = JSON.stringify([filters.vm, filters.host, filters.event, sort]);
  // A column has two pixels. Powers of two: a window that is being made larger must not ask for each pixel.
  const buckets = width > 1_300 ? 1_200 : width > 650 ? 600 : 300;
  const count = Math.min(LANES_MAX, Math.ceil(window.innerHeight / laneHeight / 10) * 10 + SPARE_LANES);

  const [names, setNames] = useState<{ key: string; names: string[] }>({ key: "", names: [] });
  const first = names.key === chosen ? Math.max(0, Math.min(wanted, names.names.length - 1)) : 0;
  const from = first > 0 ? names.names[first] : undefined;
  const main = useFetched(
    width === 0 ? null : JSON.stringify([range, chosen, from, buckets, count]),
    (signal) => {
      const more: [string, string | number][] = [
        ["buckets", buckets],
        ["lanes", count],
        ["marks", MARKS_MAX],
        ["sort", sort],
      ];
      if (from !== undefined) more.push(["from", from]);
      return client.first(client.timeline(current(view, now()), filters, more, signal));
    },
    { settleMs: SETTLE_MS },
  );
  const isPart = main.value !== null && main.value.lanes_total > main.value.lanes.length;
  const overview = useFetched(
    isPart ? JSON.stringify([view.live ? span(view) : range, chosen]) : null,
    async (signal) => {
      await client.idle(signal);
      const more: [string, string | number][] = [
        ["buckets", OVERVIEW_BUCKETS],
        ["lanes", OVERVIEW_LANES],
        ["marks", 0],
        // All that it paints: with the counts of news, the answer would be ten times as long.
        ["severity", "error"],
        ["severity", "warning"],
        ["sort", sort],
      ];
      return client.timeline(current(view, now()), filters, more, signal);
    },
    { waitMs: 4 * SETTLE_MS },
  );
  useEffect(() => {
    if (overview.value !== null)
      setNames({ key: chosen, names: overview.value.lanes.map((lane) => lane.vm) });
  }, [overview.value]);

  const steady = useSteadyOrder(main, view.live, chosen);
  const timeline = useMemo(
    () =>
      steady === null
        ? null
        : withoutOffGaps(withFindings(overlay(steady, live.records, view.live), filters)),
    [steady, live.records, view.live, JSON.stringify(filters)],
  );
  const allLanes = useMemo(
    () => (overview.value === null ? null : withoutOffGaps(overview.value)),
    [overview.value],
  );
  const firstName = timeline?.lanes[0]?.vm;
  const shownFirst = isPart && firstName !== undefined ? Math.max(0, names.names.indexOf(firstName)) : 0;
  return {
    timeline,
    first: shownFirst,
    overview: isPart ? allLanes : timeline,
    error: main.error,
    isLoading: main.isLoading,
  };
}

/** Leaves the findings that the filters choose; where they choose events only, there are none. */
function withFindings(timeline: Timeline, filters: Filters): Timeline {
  const { event, finding } = filters;
  if (event.length + finding.length === 0) return timeline;
  const isChosen = (kind: number): boolean => finding.includes(timeline.kinds[kind] ?? "");
  const lanes = timeline.lanes.map((lane) => {
    return { ...lane, findings: lane.findings.filter(([, , , kind]) => isChosen(kind)) };
  });
  return { ...timeline, lanes };
}

/** Follows `batch`, at most once in `REFRESH_MS`. */
function useRefresh(batch: number): number {
  const [refresh, setRefresh] = useState(batch);
  const last = useRef(0);
  useEffect(() => {
    if (batch === 0) return;
    const wait = Math.max(0, last.current + REFRESH_MS - performance.now());
    const timer = window.setTimeout(() => {
      last.current = performance.now();
      setRefresh(batch);
    }, wait);
    return () => window.clearTimeout(timer);
  }, [batch]);
  return refresh;
}

/** Lanes of a live view stay in their places while somebody looks at them, although trouble sorts first. */
function useSteadyOrder(main: Fetched<Timeline>, isLive: boolean, key: string): Timeline | null {
  const before = useRef<{ key: string; names: string[] }>({ key: "", names: [] });
  return useMemo(() => {
    if (main.value === null) return null;
    let timeline = main.value;
    if (isLive && before.current.key === key) timeline = inOrder(timeline, before.current.names);
    before.current = { key, names: timeline.lanes.map((lane) => lane.vm) };
    return timeline;
  }, [main.value]);
}

function inOrder(timeline: Timeline, names: string[]): Timeline {
  const place = new Map(names.map((name, index) => [name, index]));
  const rank = (lane: Lane): number => place.get(lane.vm) ?? Number.POSITIVE_INFINITY;
  if (!names.some((name) => timeline.lanes.some((lane) => lane.vm === name))) return timeline;
  const ranked = timeline.lanes.map((lane, index) => ({ lane, rank: rank(lane), index }));
  ranked.sort((a, b) => (a.rank === b.rank ? a.index - b.index : a.rank - b.rank));
  return { ...timeline, lanes: ranked.map(({ lane }) => lane) };
}

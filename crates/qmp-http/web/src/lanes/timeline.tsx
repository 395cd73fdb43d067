// The lanes with their axis, histogram and overview.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { RecordDetail } from "../api.ts";
import { useNow, useSize } from "../fetching.ts";
import type { Filters } from "../location.ts";
import { usePage } from "../page.ts";
import { line, plural } from "../text.ts";
import { now as present } from "../time.ts";
import { clamp, current, span } from "../view.ts";
import { Axis } from "./axis.tsx";
import { usePalette } from "./canvas.ts";
import { type LaneData, useLaneData } from "./data.ts";
import { EDGE_PIXELS, rowFor, type Scale } from "./geometry.ts";
import { highlightOf } from "./highlight.ts";
import { Histogram } from "./histogram.tsx";
import { Lanes } from "./lanes.tsx";
import { Legend } from "./legend.tsx";
import { Overview } from "./overview.tsx";
import { LaneTable } from "./table.tsx";

/** A screen below this width has the name above the lane. */
const NARROW_PIXELS = 560;

interface TimelineProps {
  filters: Filters;
  detail: RecordDetail | null;
  /** Tells the page what is shown, for keys that go to the next gap or finding. */
  shows(data: LaneData): void;
}

export function TimelineView({ filters, detail, shows }: TimelineProps) {
  const { state } = usePage();
  const [setBox, { width: boxWidth }] = useSize<HTMLDivElement>();
  const [element, setElement] = useState<HTMLElement | null>(null);
  const [wanted, setWanted] = useState(0);
  const [scroller, setScroller] = useState<HTMLElement | null>(null);
  const [scrolled, setScrolled] = useState({ top: 0, height: 0 });
  const palette = usePalette(element);
  const isNarrow = boxWidth < NARROW_PIXELS;
  const data = useLaneData(filters, wanted, boxWidth, rowFor(Number.POSITIVE_INFINITY, isNarrow).height);
  const { timeline, overview } = data;
  const lanesTotal = timeline?.lanes_total ?? 0;
  const isPart = lanesTotal > (timeline?.lanes.length ?? 0);
  // `HOST/VM` needs more room than `VM`.
  const isFleet = timeline?.lanes.some((lane) => lane.vm.includes("/")) ?? false;
  const gutter = isNarrow ? 0 : isFleet ? 240 : 148;
  const side = isPart && !isNarrow ? 100 : 0;
  const width = Math.max(0, Math.floor(boxWidth - gutter - side - EDGE_PIXELS));
  const now = useNow(
    state.view.live,
    clamp((span(state.view) / 1e6 / Math.max(1, width)) * 1_000, 250, 5_000),
  );
  const view = useMemo(() => current(state.view, Math.max(now, present())), [state.view, now]);
  const scale: Scale = { view, width };
  const row = rowFor(lanesTotal, isNarrow);
  const highlight = useMemo(() => highlightOf(detail), [detail]);
  const latest = useRef(shows);
  latest.current = shows;
  useEffect(() => latest.current(data), [data.timeline]);

  const scrollTo = (share: number): void => {
    scroller?.scrollTo({ top: share * lanesTotal * row.height - scrolled.height / 2 });
  };
  return (
    <figure class="timeline" ref={setElement} aria-label={`Timeline of ${plural(lanesTotal, "VM")}`}>
      <div ref={setBox} class="measure" />
      {data.error !== null && (
        <p class="notice trouble" role="alert">
          The timeline is not current: {data.error}.
        </p>
      )}
      {timeline?.partial === true && (
        <p class="notice">
          Only a part of this span is read; narrower filters or a shorter span show all of it.
        </p>
      )}
      <div class="plot" style={{ gridTemplateColumns: `${gutter}px ${width + EDGE_PIXELS}px ${side}px` }}>
        <div class="corner">{lanesTotal > 0 ? plural(lanesTotal, "VM") : ""}</div>
        <div class="head">
          <Histogram timeline={timeline} scale={scale} palette={palette} />
          <Axis scale={scale} />
        </div>
        <div class={data.isLoading ? "progress busy" : "progress"} aria-hidden="true" />
        {state.table && timeline !== null ? (
          <LaneTable timeline={timeline} first={data.first} view={view} now={now} go={setWanted} />
        ) : (
          <Lanes
            data={data}
            scale={scale}
            row={row}
            gutter={gutter}
            palette={palette}
            now={Math.max(now, present())}
            highlight={highlight}
            shown={filters.severity}
            scrollerRef={setScroller}
            scrolled={(top, height) => {
              setScrolled({ top, height });
              if (isPart) setWanted(Math.max(0, Math.floor(top / row.height) - 10));
            }}
          />
        )}
        {side > 0 && overview !== null && !state.table && (
          <Overview
            overview={overview}
            height={scrolled.height}
            palette={palette}
            view={view}
            now={now}
            top={scrolled.top / (lanesTotal * row.height)}
            bottom={(scrolled.top + scrolled.height) / (lanesTotal * row.height)}
            scrollTo={scrollTo}
          />
        )}
      </div>
      {timeline !== null && lanesTotal === 0 && <Empty filters={filters} />}
      {!state.table && <Legend palette={palette} />}
    </figure>
  );
}

function Empty({ filters }: { filters: Filters }) {
  const names = filters.vm.map((name) => line(name, 40)).join(", ");
  return (
    <p class="empty">
      {names === "" ? "The hub has no records of a VM in this span." : `No VM matches ${names} in this span.`}
    </p>
  );
}

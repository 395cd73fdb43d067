// The lanes themselves: one canvas that stays in place while the list of names scrolls behind it.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Lane, Micros } from "../api.ts";
import { usePage } from "../page.ts";
import type { Severity } from "../severity.ts";
import { now as present } from "../time.ts";
import { clamp, showing, span } from "../view.ts";
import { sizeCanvas, usePainting } from "./canvas.ts";
import type { LaneData } from "./data.ts";
import { EDGE_PIXELS, type Row, type Scale, timeAt, x } from "./geometry.ts";
import { useGestures } from "./gestures.ts";
import { type Highlight, paintLinks, paintMoment } from "./highlight.ts";
import { describe, type Item, itemAt, items } from "./items.ts";
import { LaneName } from "./name.tsx";
import { paintLane, type Scene } from "./paint.ts";
import type { Palette } from "./palette.ts";

interface LanesProps {
  data: LaneData;
  scale: Scale;
  row: Row;
  gutter: number;
  palette: Palette | null;
  now: Micros;
  highlight: Highlight | null;
  shown: readonly Severity[];
  scrollerRef(element: HTMLElement | null): void;
  scrolled(top: number, height: number): void;
}

interface Cursor {
  vm: string;
  item: Item;
}

export function Lanes(props: LanesProps) {
  const { data, scale, row, gutter, palette, now, highlight, shown } = props;
  const page = usePage();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [scroller, setScroller] = useState<HTMLDivElement | null>(null);
  const [surface, setSurface] = useState<HTMLElement | null>(null);
  const [window_, setWindow] = useState({ top: 0, height: 0 });
  const [hover, setHover] = useState<(Cursor & { x: number; y: number }) | null>(null);
  const [cursor, setCursor] = useState<Cursor | null>(null);
  const { timeline } = data;
  const lanes = timeline?.lanes ?? [];
  const all = Math.max(timeline?.lanes_total ?? 0, data.first + lanes.length) * row.height;

  useEffect(() => {
    props.scrollerRef(scroller);
    if (scroller === null) return;
    const measure = (): void => {
      setWindow({ top: scroller.scrollTop, height: scroller.clientHeight });
      props.scrolled(scroller.scrollTop, scroller.clientHeight);
    };
    const observer = new ResizeObserver(measure);
    observer.observe(scroller);
    scroller.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      scroller.removeEventListener("scroll", measure);
    };
  }, [scroller, row.height, timeline?.lanes_total]);

  const laneAt = (y: number): Lane | undefined =>
    lanes[Math.floor((y + window_.top) / row.height) - data.first];
  const topOf = (vm: string): number => {
    const index = lanes.findIndex((lane) => lane.vm === vm);
    return index < 0 ? Number.NaN : (data.first + index) * row.height - window_.top;
  };
  const itemsOf = (lane: Lane): Item[] =>
    timeline === null ? [] : items(timeline, lane, scale.view, shown, now);
  const find = (pixel: number, y: number): Cursor | null => {
    const lane = laneAt(y);
    if (lane === undefined) return null;
    const slack = (7 / scale.width) * span(scale.view);
    const item = itemAt(itemsOf(lane), timeAt(scale, pixel), slack, now);
    return item === null ? null : { vm: lane.vm, item };
  };
  const open = (found: Cursor | null): void => {
    if (found?.item.offset != null) page.selectOffset(found.item.offset);
    else if (found?.item.kind === "count") {
      const { from, to } = found.item;
      const margin = ((to ?? now) - from) * 4;
      page.go({
        view: { since: Math.round(from - margin), until: Math.round((to ?? now) + margin), live: false },
      });
    }
  };

  useGestures(surface, {
    view: scale.view,
    now: present,
    move: (view) => {
      setHover(null);
      page.go({ view }, "gesture");
    },
    press: (pixel, y) => open(find(pixel, y)),
    hover: (pixel, y) => {
      const found = find(pixel, y);
      setHover(found === null ? null : { ...found, x: pixel, y });
    },
    leave: () => setHover(null),
  });

  usePainting(() => {
    const height = Math.min(window_.height, all);
    const pen = sizeCanvas(canvas.current, scale.width + EDGE_PIXELS, height, palette);
    if (pen === null || palette === null || timeline === null) return;
    const scene: Scene = { pen, scale, row, palette, timeline, now, shown };
    paintRows(scene, lanes, data.first * row.height - window_.top, height);
    if (highlight !== null) {
      paintMoment(scene, highlight, height);
      const top = topOf(highlight.vm);
      if (!Number.isNaN(top)) paintLinks(scene, highlight, top);
    }
    if (cursor !== null) paintCursor(scene, cursor.item, topOf(cursor.vm));
  }, [
    timeline,
    data.first,
    scale.view,
    scale.width,
    row.height,
    window_.top,
    window_.height,
    palette,
    Math.floor((now / span(scale.view)) * scale.width),
    highlight,
    shown,
    cursor,
  ]);

  const keys = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key === "Enter" && cursor !== null) {
      open(cursor);
      event.preventDefault();
      return;
    }
    const next = moved(event.key, cursor, lanes, itemsOf);
    if (next === null) return;
    // The arrows move the cursor here; elsewhere they move the view.
    event.preventDefault();
    event.stopPropagation();
    setCursor(next);
    page.announce(describe(next.vm, next.item));
    page.go(
      { view: showing(scale.view, clamp(next.item.from, scale.view.since, next.item.to ?? now), present()) },
      "gesture",
    );
    const top = topOf(next.vm);
    if (top < 0) scroller?.scrollBy({ top: top - 4 });
    else if (top + row.height > window_.height)
      scroller?.scrollBy({ top: top + row.height - window_.height + 4 });
  };

  const names = useMemo(() => lanes.map((lane) => lane.vm), [timeline]);
  return (
    <div class="lanes" ref={setScroller} tabIndex={-1}>
      <div class="lanes-all" style={{ height: `${all}px` }}>
        {names.map((name, index) => (
          <LaneName
            key={name}
            name={name}
            timeline={timeline}
            lane={lanes[index]}
            top={(data.first + index) * row.height}
            height={row.height}
            width={gutter}
          />
        ))}
        <div
          class="surface"
          role="application"
          aria-label="Lanes: left and right go to the next record, up and down to the next VM, Enter opens it"
          tabIndex={0}
          ref={setSurface}
          onKeyDown={keys}
          onBlur={() => setCursor(null)}
          style={{
            left: `${gutter}px`,
            width: `${scale.width + EDGE_PIXELS}px`,
            height: `${Math.min(window_.height, all)}px`,
          }}
        >
          <canvas ref={canvas} aria-hidden="true" />
          {hover !== null && <Tooltip scale={scale} found={hover} x={hover.x} y={hover.y} />}
          {cursor !== null && hover === null && (
            <Tooltip
              scale={scale}
              found={cursor}
              x={x(scale, Math.max(cursor.item.from, scale.view.since))}
              y={topOf(cursor.vm) + 8}
            />
          )}
        </div>
      </div>
    </div>
  );
}

function paintRows(scene: Scene, lanes: Lane[], top: number, height: number): void {
  const { pen, palette, scale, row } = scene;
  lanes.forEach((lane, index) => {
    const y = top + index * row.height;
    if (y + row.height < 0 || y > height) return;
    pen.fillStyle = palette.colour.rule;
    pen.fillRect(0, y + row.height - 1, scale.width, 1);
    paintLane(scene, lane, y);
  });
}

function paintCursor(scene: Scene, item: Item, top: number): void {
  const { pen, palette, scale, row, now } = scene;
  if (Number.isNaN(top)) return;
  const left = Math.max(0, x(scale, item.from));
  const right = Math.min(scale.width, x(scale, item.to ?? now));
  pen.strokeStyle = palette.colour.accent;
  pen.lineWidth = 2;
  pen.strokeRect(left - 6, top + 2, Math.max(12, right - left + 12), row.height - 4);
}

/** Where the arrows lead; `null` if the key is none, or if there is nothing. */
function moved(
  key: string,
  cursor: Cursor | null,
  lanes: Lane[],
  itemsOf: (lane: Lane) => Item[],
): Cursor | null {
  const index = lanes.findIndex((lane) => lane.vm === cursor?.vm);
  const lane = lanes[Math.max(0, index)];
  if (lane === undefined) return null;
  const here = cursor?.item;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const list = itemsOf(lane);
    const at = list.findIndex(
      (item) => item.from === here?.from && item.kind === here.kind && item.text === here.text,
    );
    const next = at < 0 ? list.at(-1) : list[at + (key === "ArrowRight" ? 1 : -1)];
    return next === undefined ? null : { vm: lane.vm, item: next };
  }
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  const step = key === "ArrowDown" ? 1 : -1;
  for (let other = index < 0 ? 0 : index + step; other >= 0 && other < lanes.length; other += step) {
    const target = lanes[other];
    if (target === undefined) return null;
    const list = itemsOf(target);
    const near = here === undefined ? list.at(-1) : nearest(list, here.from);
    if (near !== undefined) return { vm: target.vm, item: near };
  }
  return null;
}

function nearest(list: Item[], at: Micros): Item | undefined {
  return list.reduce<Item | undefined>(
    (best, item) => (best === undefined || Math.abs(item.from - at) < Math.abs(best.from - at) ? item : best),
    undefined,
  );
}

function Tooltip({ scale, found, x: left, y }: { scale: Scale; found: Cursor; x: number; y: number }) {
  const isRight = left > scale.width / 2;
  const side = isRight ? { right: `${scale.width - left + 12}px` } : { left: `${left + 12}px` };
  return (
    <div class="tooltip" role="presentation" style={{ ...side, top: `${y + 14}px` }}>
      {describe(found.vm, found.item)}
    </div>
  );
}

// All lanes at once, one pixel each: where the trouble is among a thousand, and which part is on the screen.

import { useMemo, useRef } from "preact/hooks";
import type { BucketCount, Timeline } from "../api.ts";
import { stateLook } from "../states.ts";
import { clamp, span } from "../view.ts";
import { sizeCanvas, usePainting } from "./canvas.ts";
import { extent, type Scale, x } from "./geometry.ts";
import type { Palette } from "./palette.ts";

const WIDTH = 88;

interface OverviewProps {
  overview: Timeline;
  height: number;
  palette: Palette | null;
  view: Scale["view"];
  now: number;
  /** The lanes on the screen, as shares of all. */
  top: number;
  bottom: number;
  scrollTo(share: number): void;
}

export function Overview(props: OverviewProps) {
  const { overview, height, palette, view, now } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const picture = useMemo(() => document.createElement("canvas"), []);
  // A live overview is not read again as time passes: the last states go on.
  const pictured = useMemo(
    () => (view.live ? view : { since: overview.since, until: overview.until, live: false }),
    [overview, view.live, view.live ? Math.floor((now / span(view)) * WIDTH) : 0],
  );
  usePainting(() => {
    const pen = sizeCanvas(picture, WIDTH, height, palette);
    if (pen !== null && palette !== null)
      paintOverview(pen, palette, overview, { view: pictured, width: WIDTH }, height, now);
  }, [overview, height, palette, pictured]);
  usePainting(() => {
    const pen = sizeCanvas(canvas.current, WIDTH, height, palette);
    if (pen === null || palette === null || picture.width === 0) return;
    const scale = { view, width: WIDTH };
    const left = x(scale, pictured.since);
    pen.drawImage(picture, left, 0, x(scale, pictured.until) - left, height);
    pen.strokeStyle = palette.colour.accent;
    pen.lineWidth = 2;
    const drawn = Math.min(height, heightOf(overview, height) * overview.lanes.length);
    const top = props.top * drawn;
    pen.strokeRect(1, top + 1, WIDTH - 2, Math.max(4, (props.bottom - props.top) * drawn - 2));
  }, [overview, height, palette, view, pictured, props.top, props.bottom]);
  const scroll = (event: PointerEvent): void => {
    const box = canvas.current?.getBoundingClientRect();
    if (box === undefined || event.buttons === 0) return;
    const drawn = Math.min(height, heightOf(overview, height) * overview.lanes.length);
    props.scrollTo(clamp((event.clientY - box.top) / drawn, 0, 1));
  };
  return (
    <div
      class="overview"
      title={`All ${overview.lanes.length} lanes; press to go there`}
      onPointerDown={scroll}
      onPointerMove={scroll}
    >
      <canvas ref={canvas} aria-hidden="true" />
    </div>
  );
}

/** The height of a lane, in pixels. */
function heightOf(overview: Timeline, height: number): number {
  return Math.min(4, height / Math.max(1, overview.lanes.length));
}

function paintOverview(
  pen: CanvasRenderingContext2D,
  palette: Palette,
  overview: Timeline,
  scale: Scale,
  height: number,
  now: number,
): void {
  const each = heightOf(overview, height);
  const high = Math.max(1, each);
  overview.lanes.forEach((lane, index) => {
    const y = index * each;
    for (const [from, to, state] of lane.states) {
      const part = extent(scale, from, to, now);
      const look = stateLook(overview.states[state] ?? null);
      if (part === null || look === "off" || look === "unknown") continue;
      pen.fillStyle =
        palette.colour[look === "running" ? "running" : look === "stopped" ? "stopped-edge" : "trouble-edge"];
      pen.fillRect(part.left, y, Math.max(1, part.right - part.left), high);
    }
    pen.fillStyle = palette.colour["gap-edge"];
    for (const [from, to] of lane.gaps) {
      const part = extent(scale, from, to, now);
      if (part !== null) pen.fillRect(part.left, y, Math.max(1, part.right - part.left), high);
    }
    for (const severity of ["warning", "error"] as const) {
      pen.fillStyle = palette.colour[severity];
      for (const [from, to] of runs(lane.counts[severity] ?? [])) {
        const [begin, end] = [from, to].map((bucket) => overview.since + bucket * overview.bucket);
        const part = extent(scale, begin ?? 0, end ?? 0, 0);
        if (part !== null) pen.fillRect(part.left, y, part.right - part.left + 1.5, high);
      }
    }
  });
}

/** The first and the last bucket of each run of buckets with counts: one bar in place of a hundred. */
function runs(counts: readonly BucketCount[]): [from: number, to: number][] {
  const found: [from: number, to: number][] = [];
  for (const [bucket] of counts) {
    const last = found.at(-1);
    if (last !== undefined && last[1] === bucket - 1) last[1] = bucket;
    else found.push([bucket, bucket]);
  }
  return found;
}

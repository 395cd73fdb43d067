// All lanes at once, one pixel each: where the trouble is among a thousand, and which part is on the screen.

import { useEffect, useRef } from "preact/hooks";
import type { Timeline } from "../api.ts";
import { stateLook } from "../states.ts";
import { clamp } from "../view.ts";
import { sizeCanvas } from "./canvas.ts";
import { extent, type Scale } from "./geometry.ts";
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
  useEffect(() => {
    const pen = sizeCanvas(canvas.current, WIDTH, height, palette);
    if (pen === null || palette === null) return;
    const each = Math.min(4, height / Math.max(1, overview.lanes.length));
    const scale = { view, width: WIDTH };
    overview.lanes.forEach((lane, index) => {
      const y = index * each;
      for (const [from, to, state] of lane.states) {
        const span = extent(scale, from, to, now);
        const look = stateLook(overview.states[state] ?? null);
        if (span === null || look === "off" || look === "unknown") continue;
        pen.fillStyle =
          palette.colour[
            look === "running" ? "running" : look === "stopped" ? "stopped-edge" : "trouble-edge"
          ];
        pen.fillRect(span.left, y, Math.max(1, span.right - span.left), Math.max(1, each));
      }
      for (const [from, to] of lane.gaps) {
        const span = extent(scale, from, to, now);
        if (span === null) continue;
        pen.fillStyle = palette.colour["gap-edge"];
        pen.fillRect(span.left, y, Math.max(1, span.right - span.left), Math.max(1, each));
      }
      for (const severity of ["warning", "error"] as const) {
        pen.fillStyle = palette.colour[severity];
        for (const [bucket] of lane.counts[severity] ?? []) {
          const span = extent(scale, overview.since + bucket * overview.bucket, null, 0);
          if (span !== null) pen.fillRect(span.left, y, 1.5, Math.max(1, each));
        }
      }
    });
    pen.strokeStyle = palette.colour.accent;
    pen.lineWidth = 2;
    const drawn = Math.min(height, each * overview.lanes.length);
    const top = props.top * drawn;
    pen.strokeRect(1, top + 1, WIDTH - 2, Math.max(4, (props.bottom - props.top) * drawn - 2));
  });
  const scroll = (event: PointerEvent): void => {
    const box = canvas.current?.getBoundingClientRect();
    if (box === undefined || event.buttons === 0) return;
    const drawn = Math.min(height, Math.min(4, height / overview.lanes.length) * overview.lanes.length);
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

// All records of the filters over time. A drag chooses the span to zoom to.

import { useRef, useState } from "preact/hooks";
import type { Timeline } from "../api.ts";
import { usePage } from "../page.ts";
import { now } from "../time.ts";
import { sizeCanvas, usePainting } from "./canvas.ts";
import { rowFor, type Scale } from "./geometry.ts";
import { chosen } from "./gestures.ts";
import { paintDensity, type Scene } from "./paint.ts";
import type { Palette } from "./palette.ts";

const HEIGHT = 44;

interface HistogramProps {
  timeline: Timeline | null;
  scale: Scale;
  palette: Palette | null;
}

export function Histogram({ timeline, scale, palette }: HistogramProps) {
  const { state, go } = usePage();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const shown = state.filters.severity;
  usePainting(() => {
    const pen = sizeCanvas(canvas.current, scale.width, HEIGHT, palette);
    if (pen === null || palette === null || timeline === null) return;
    const scene: Scene = { pen, scale, palette, timeline, shown, row: rowFor(1, false), now: now() };
    paintDensity(scene, timeline.total, 2, HEIGHT - 2);
  }, [timeline, scale.view, scale.width, palette, shown]);

  const at = (event: PointerEvent): number =>
    event.clientX - (canvas.current?.getBoundingClientRect().left ?? 0);
  const finish = (event: PointerEvent): void => {
    if (drag === null) return;
    setDrag(null);
    const view = chosen(scale.view, scale.width, drag.from, at(event), now());
    if (view !== null) go({ view });
  };
  const left = drag === null ? 0 : Math.min(drag.from, drag.to);
  return (
    <div
      class="histogram"
      title="Drag to zoom to a span"
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        setDrag({ from: at(event), to: at(event) });
      }}
      onPointerMove={(event) => drag !== null && setDrag({ from: drag.from, to: at(event) })}
      onPointerUp={finish}
      onPointerCancel={() => setDrag(null)}
    >
      <canvas ref={canvas} aria-hidden="true" />
      {drag !== null && (
        <div class="chosen" style={{ left: `${left}px`, width: `${Math.abs(drag.to - drag.from)}px` }} />
      )}
    </div>
  );
}

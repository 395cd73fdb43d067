// How often something happened over time, with numbers: the histogram above the lanes shows the shape only.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useSize } from "../fetching.ts";
import { Axis } from "../lanes/axis.tsx";
import { sizeCanvas, usePalette } from "../lanes/canvas.ts";
import type { Scale } from "../lanes/geometry.ts";
import { SEVERITIES, type Severity } from "../severity.ts";
import { plural, shortCount } from "../text.ts";
import { duration } from "../time.ts";

export interface Series {
  severity: Severity;
  values: readonly number[];
}

interface RateProps {
  since: number;
  bucket: number;
  series: readonly Series[];
  label: string;
}

const HEIGHT = 172;
const GUTTER = 40;

export function Rate({ since, bucket, series, label }: RateProps) {
  const [setBox, { width: boxWidth }] = useSize<HTMLDivElement>();
  const [element, setElement] = useState<HTMLElement | null>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const palette = usePalette(element);
  const width = Math.max(0, Math.floor(boxWidth - GUTTER));
  const columns = useMemo(() => stacked(series), [series]);
  const most = Math.max(1, ...columns.map((column) => column.reduce((sum, part) => sum + part.count, 0)));
  const top = niceTop(most);
  const scale: Scale = { view: { since, until: since + bucket * columns.length, live: false }, width };
  useEffect(() => {
    const pen = sizeCanvas(canvas.current, width, HEIGHT, palette);
    if (pen === null || palette === null) return;
    pen.fillStyle = palette.colour.rule;
    for (const share of [0, 0.5, 1]) pen.fillRect(0, Math.round((HEIGHT - 1) * share), width, 1);
    const each = width / Math.max(1, columns.length);
    columns.forEach((column, index) => {
      let bottom = HEIGHT;
      for (const { severity, count } of column) {
        const height = Math.max(1.5, (count / top) * (HEIGHT - 2));
        pen.fillStyle = palette.colour[severity];
        pen.fillRect(index * each + 1, bottom - height, Math.max(1, each - 2), height);
        bottom -= height;
      }
    });
  });
  const total = columns.flat().reduce((sum, { count }) => sum + count, 0);
  return (
    <figure
      class="rate"
      ref={setElement}
      aria-label={`${label}: ${plural(total, "event")} in the shown time`}
    >
      <figcaption>
        {label} <span>in {duration(bucket)}</span>
      </figcaption>
      <div ref={setBox} />
      <div class="rate-plot" style={{ gridTemplateColumns: `${GUTTER}px ${width}px` }}>
        <div class="rate-scale" aria-hidden="true">
          <span>{shortCount(top)}</span>
          <span>{top % 2 === 0 ? shortCount(top / 2) : ""}</span>
          <span>0</span>
        </div>
        <canvas ref={canvas} aria-hidden="true" />
        <div />
        <Axis scale={scale} />
      </div>
    </figure>
  );
}

/** The parts of each bar, the most urgent at the bottom. */
function stacked(series: readonly Series[]): { severity: Severity; count: number }[][] {
  const length = Math.max(0, ...series.map(({ values }) => values.length));
  return Array.from({ length }, (_, index) =>
    SEVERITIES.map((severity) => ({
      severity,
      count: series.reduce((sum, one) => sum + (one.severity === severity ? (one.values[index] ?? 0) : 0), 0),
    })).filter(({ count }) => count > 0),
  );
}

/** A round number above: 1, 2, 4, 6, 10 and so on, times a power of ten. */
export function niceTop(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [1, 2, 4, 6, 10].find((candidate) => candidate * power >= most) ?? 10;
  return Math.max(2, step * power);
}

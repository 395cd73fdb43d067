// What the looks mean, drawn by the same code as the lanes.

import { useEffect, useRef } from "preact/hooks";
import type { Lane, Timeline } from "../api.ts";
import { SEVERITIES, type Severity } from "../severity.ts";
import { sizeCanvas } from "./canvas.ts";
import { type Row, rowFor } from "./geometry.ts";
import { paintLane, type Scene } from "./paint.ts";
import type { Palette } from "./palette.ts";

const WIDTH = 26;
const EVENTS: { [severity in Severity]: string } = {
  error: "BLOCK_IO_ERROR",
  warning: "WATCHDOG",
  lifecycle: "STOP",
  good: "RESUME",
  news: "RTC_CHANGE",
};
const SEVERITY_LEGEND: { [severity in Severity]: string } = {
  error: "error",
  warning: "warning",
  lifecycle: "lifecycle",
  good: "recovery",
  news: "other event",
};

const EMPTY: Lane = { vm: "", counts: {}, states: [], gaps: [], findings: [] };
const STATES = ["running", "paused", "io-error", "ended", "unknown"];

const SAMPLES: [text: string, lane: Lane][] = [
  ["running", { ...EMPTY, states: [[0, null, 0, 0]] }],
  ["stopped", { ...EMPTY, states: [[0, null, 1, 0]] }],
  ["in trouble", { ...EMPTY, states: [[0, null, 2, 0]] }],
  ["off", { ...EMPTY, states: [[0, null, 3, 0]] }],
  ["unknown", { ...EMPTY, states: [[0, null, 4, 0]] }],
  ["not watched", { ...EMPTY, gaps: [[-1, null, 0, 1]] }],
  ...SEVERITIES.map((severity): [string, Lane] => [
    SEVERITY_LEGEND[severity],
    { ...EMPTY, marks: [[1, 50, EVENTS[severity]]] },
  ]),
  ["finding", { ...EMPTY, findings: [[1, 50, 50, 0, 1]] }],
];

export function Legend({ palette }: { palette: Palette | null }) {
  return (
    <ul class="legend" aria-label="Legend">
      {SAMPLES.map(([text, lane]) => (
        <li key={text}>
          <Sample lane={lane} palette={palette} />
          {text}
        </li>
      ))}
    </ul>
  );
}

function Sample({ lane, palette }: { lane: Lane; palette: Palette | null }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const isBand = lane.states.length > 0;
    const [row, height] = sampleRow(isBand, lane.gaps.length > 0);
    const pen = sizeCanvas(canvas.current, WIDTH, height, palette);
    if (pen === null || palette === null) return;
    const scale = { view: { since: 0, until: 100, live: false }, width: WIDTH };
    const timeline = { states: STATES, reasons: [""], kinds: [""] } as unknown as Timeline;
    const scene: Scene = { pen, scale, row, palette, timeline, now: 200, shown: [] };
    paintLane(scene, lane, 0);
  }, [palette, lane]);
  return <canvas ref={canvas} aria-hidden="true" />;
}

/** A row with only the part that the sample shows. */
function sampleRow(isBand: boolean, isGap: boolean): [Row, number] {
  const height = 12;
  const part = { top: 0, height };
  const row: Row = { ...rowFor(100, false), finding: { top: 3, height: 7 }, mark: part, band: part };
  if (isGap) return [{ ...row, finding: { top: 1, height: 0 }, band: { top: 0, height } }, height];
  return [isBand ? { ...row, finding: { top: -20, height: 0 } } : row, height];
}

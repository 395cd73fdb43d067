// Draws lanes: gaps, bands of run states, marks or densities, findings.

import type { Lane, Micros, Timeline } from "../api.ts";
import { SEVERITIES, type Severity, severityOf } from "../severity.ts";
import { stateLook, stateText } from "../states.ts";
import { duration } from "../time.ts";
import { extent, type Row, type Scale, x } from "./geometry.ts";
import { type Palette, severityColour } from "./palette.ts";

export interface Scene {
  pen: CanvasRenderingContext2D;
  scale: Scale;
  row: Row;
  palette: Palette;
  timeline: Timeline;
  now: Micros;
  /** Severities that are shown; empty shows all. */
  shown: readonly Severity[];
}

/** Marks nearer than about this cover each other. */
const COVERED_PIXELS = 4;

/** What is so narrow that it would vanish gets this many pixels. */
const SPAN_MIN_PIXELS = 2;

export function paintLane(scene: Scene, lane: Lane, top: number): void {
  paintStates(scene, lane, top);
  paintGaps(scene, lane, top);
  if (lane.marks !== undefined) paintMarks(scene, lane, top);
  else paintDensity(scene, lane.counts, top + scene.row.mark.top, scene.row.mark.height);
  paintFindings(scene, lane, top);
}

function paintStates(scene: Scene, lane: Lane, top: number): void {
  const { pen, scale, row, palette, timeline, now } = scene;
  const y = top + row.band.top;
  for (const [from, to, index, changes] of lane.states) {
    const span = extent(scale, from, to, now);
    if (span === null) continue;
    const state = timeline.states[index] ?? "unknown";
    const look = stateLook(state);
    const left = span.left;
    const width = Math.max(SPAN_MIN_PIXELS, span.right - left);
    if (changes > 0) {
      pen.fillStyle = palette.mixed;
      pen.fillRect(left, y, width, row.band.height);
      continue;
    }
    paintBand(scene, look, left, y, width);
    // A VM that runs is the rule, and says nothing.
    if (row.hasText && look !== "running")
      paintLabel(scene, stateText(state), left, y, width, row.band.height);
  }
}

function paintBand(
  scene: Scene,
  look: ReturnType<typeof stateLook>,
  left: number,
  y: number,
  width: number,
): void {
  const { pen, palette, row } = scene;
  const height = row.band.height;
  if (look === "off") {
    // An empty groove: one thin broken line, and no band.
    pen.strokeStyle = palette.colour["off-edge"];
    pen.lineWidth = 1.5;
    pen.setLineDash([2, 4]);
    pen.beginPath();
    pen.moveTo(left, y + height / 2);
    pen.lineTo(left + width, y + height / 2);
    pen.stroke();
    pen.setLineDash([]);
    return;
  }
  pen.fillStyle = palette.band[look];
  pen.fillRect(left, y, width, height);
  const edge = {
    running: "running-edge",
    stopped: "stopped-edge",
    trouble: "trouble-edge",
    unknown: "unknown-edge",
  } as const;
  pen.fillStyle = palette.colour[edge[look]];
  pen.fillRect(left, y, width, 1);
  pen.fillRect(left, y + height - 1, width, 1);
  pen.fillRect(left, y, 1, height);
}

/** A text in a span, if there is room for it. */
function paintLabel(
  scene: Scene,
  text: string,
  left: number,
  y: number,
  width: number,
  height: number,
): void {
  const { pen, palette, scale } = scene;
  const start = Math.max(0, left);
  const room = Math.min(scale.width, left + width) - start;
  if (room < 30) return;
  pen.font = `500 10px ${palette.font}`;
  const length = pen.measureText(text).width;
  if (length + 12 > room) return;
  pen.fillStyle = palette.colour.panel;
  pen.fillRect(start + 4, y + 1, length + 6, height - 2);
  pen.fillStyle = palette.colour.ink;
  pen.textBaseline = "middle";
  pen.fillText(text, start + 7, y + height / 2 + 0.5);
}

/** A gap is as high as the row: nothing at all is known of that time. */
function paintGaps(scene: Scene, lane: Lane, top: number): void {
  const { pen, scale, row, palette, now } = scene;
  const y = top + row.finding.top - 1;
  const height = row.band.top + row.band.height - row.finding.top + 1;
  for (const [from, to] of lane.gaps) {
    const span = extent(scale, from, to, now);
    if (span === null) continue;
    const width = Math.max(SPAN_MIN_PIXELS, span.right - span.left);
    pen.clearRect(span.left, y, width, height);
    pen.fillStyle = palette.gap;
    pen.fillRect(span.left, y, width, height);
    pen.fillStyle = palette.colour["gap-edge"];
    pen.fillRect(span.left, y, 1, height);
    if (width > 3) pen.fillRect(span.left + width - 1, y, 1, height);
    if (!row.hasText) continue;
    const length = duration((to ?? now) - from);
    const text = width > 130 ? `not watched · ${length}` : "not watched";
    paintLabel(scene, text, span.left, y + height / 2 - 8, width, 16);
  }
}

function isShown(scene: Scene, severity: Severity): boolean {
  return scene.shown.length === 0 || scene.shown.includes(severity);
}

function paintMarks(scene: Scene, lane: Lane, top: number): void {
  const { scale, row } = scene;
  const middle = top + row.mark.top + row.mark.height / 2;
  const urgent: [number, Severity][] = [];
  for (const [, at, event] of lane.marks ?? []) {
    const pixel = x(scale, at);
    if (pixel < -8 || pixel > scale.width + 8) continue;
    const severity = severityOf(event);
    if (!isShown(scene, severity)) continue;
    if (severity === "news") paintGlyph(scene, severity, pixel, middle);
    else urgent.push([pixel, severity]);
  }
  // The most urgent first: a mark that would lie under one is left out, since both together have neither's shape.
  urgent.sort(([, a], [, b]) => SEVERITIES.indexOf(a) - SEVERITIES.indexOf(b));
  const taken = new Map<number, Severity>();
  const drawn: [number, Severity][] = [];
  for (const [pixel, severity] of urgent) {
    const place = Math.round(pixel / COVERED_PIXELS);
    const over = [place - 1, place, place + 1].map((near) => taken.get(near));
    if (over.some((other) => other !== undefined && other !== severity)) continue;
    taken.set(place, severity);
    drawn.unshift([pixel, severity]);
  }
  for (const [pixel, severity] of drawn) paintGlyph(scene, severity, pixel, middle);
}

/** One shape for each severity: triangle, diamond, square, disc, line. */
function paintGlyph(scene: Scene, severity: Severity, pixel: number, middle: number): void {
  const { pen, palette, row } = scene;
  const size = Math.min(5, row.mark.height / 2);
  pen.fillStyle = severityColour(palette, severity);
  pen.beginPath();
  if (severity === "error") {
    pen.moveTo(pixel, middle - size - 1);
    pen.lineTo(pixel + size + 1, middle + size);
    pen.lineTo(pixel - size - 1, middle + size);
  } else if (severity === "warning") {
    pen.moveTo(pixel, middle - size - 0.5);
    pen.lineTo(pixel + size, middle);
    pen.lineTo(pixel, middle + size + 0.5);
    pen.lineTo(pixel - size, middle);
  } else if (severity === "lifecycle") {
    pen.rect(pixel - size + 1, middle - size + 1, 2 * size - 2, 2 * size - 2);
  } else if (severity === "good") {
    pen.arc(pixel, middle, size - 0.5, 0, 2 * Math.PI);
  } else {
    pen.rect(pixel - 0.75, middle - size + 0.5, 1.5, 2 * size - 1);
  }
  pen.closePath();
  pen.fill();
  if (severity === "news") return;
  pen.strokeStyle = palette.colour.panel;
  pen.lineWidth = 1;
  pen.stroke();
}

/** The width of a column of counts, in pixels. */
const COLUMN_PIXELS = 2;

/** Counts as bars, the most urgent at the bottom, where a bar of one is still seen. */
export function paintDensity(scene: Scene, counts: Lane["counts"], top: number, height: number): void {
  const { pen, scale, palette, timeline } = scene;
  const columns = Math.floor(scale.width / COLUMN_PIXELS) + 1;
  const sums = new Float64Array(columns);
  const ranks = SEVERITIES.map((severity) => {
    const buckets = isShown(scene, severity) ? counts[severity] : undefined;
    if (buckets === undefined) return null;
    const parts = new Float64Array(columns);
    for (const [bucket, count] of buckets) {
      const middle = x(scale, timeline.since + (bucket + 0.5) * timeline.bucket);
      const column = Math.floor(middle / COLUMN_PIXELS);
      if (column < 0 || column >= columns) continue;
      parts[column] = (parts[column] ?? 0) + count;
      sums[column] = (sums[column] ?? 0) + count;
    }
    return parts;
  });
  const most = Math.log1p(sums.reduce((a, b) => Math.max(a, b), 1));
  const width = Math.max(2, Math.ceil(x(scale, scale.view.since + timeline.bucket)) - 0.5);
  const bottoms = new Float64Array(columns).fill(top + height);
  // A change of colour is slow: all parts of one severity, and then the next.
  ranks.forEach((parts, rank) => {
    if (parts === null) return;
    pen.fillStyle = severityColour(palette, SEVERITIES[rank] ?? "news");
    parts.forEach((count, column) => {
      if (count === 0) return;
      const [all, bottom] = [sums[column] ?? count, bottoms[column] ?? top];
      // A logarithm shows both one event and a storm of thousands.
      const whole = Math.max(3, (Math.log1p(all) / most) * height);
      const part = Math.max(1.5, (count / all) * whole);
      pen.fillRect(column * COLUMN_PIXELS, Math.max(top, bottom - part), width, part);
      bottoms[column] = bottom - part;
    });
  });
}

/** Findings that last are bars above the marks; those of one moment are pointers to it. */
function paintFindings(scene: Scene, lane: Lane, top: number): void {
  const { pen, scale, row, palette, now } = scene;
  const y = top + row.finding.top;
  pen.fillStyle = palette.colour.ink;
  for (const [, from, to] of lane.findings) {
    const span = extent(scale, from, to, now);
    if (span === null) continue;
    if (span.right - span.left > 6) {
      pen.fillRect(span.left, y + row.finding.height - 3, span.right - span.left, 2);
    }
    const size = row.finding.height - 2;
    pen.beginPath();
    pen.moveTo(span.left - size, y);
    pen.lineTo(span.left + size, y);
    pen.lineTo(span.left, y + size + 1);
    pen.closePath();
    pen.fill();
  }
}

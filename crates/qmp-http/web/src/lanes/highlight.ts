// The chosen record on the lanes: where it is, what caused it, what it caused.

import type { Micros, RecordDetail } from "../api.ts";
import { fromRfc3339 } from "../time.ts";
import { x } from "./geometry.ts";
import type { Scene } from "./paint.ts";

export interface Highlight {
  vm: string;
  at: Micros;
  causes: Micros[];
  effects: Micros[];
}

export function highlightOf(detail: RecordDetail | null): Highlight | null {
  if (detail === null) return null;
  return {
    vm: detail.record.vm,
    at: fromRfc3339(detail.record.received),
    causes: detail.causes.map((record) => fromRfc3339(record.received)),
    effects: detail.caused.map((record) => fromRfc3339(record.received)),
  };
}

/** The moment of the chosen record, across all lanes. */
export function paintMoment(scene: Scene, highlight: Highlight, height: number): void {
  const { pen, palette, scale } = scene;
  pen.fillStyle = palette.colour.accent;
  pen.fillRect(Math.round(x(scale, highlight.at)), 0, 1, height);
}

/** Rings around causes and effects, with an arrow from each cause to what it caused. */
export function paintLinks(scene: Scene, highlight: Highlight, top: number): void {
  const { pen, palette, scale, row } = scene;
  const middle = top + row.mark.top + row.mark.height / 2;
  const here = x(scale, highlight.at);
  pen.strokeStyle = palette.colour.accent;
  pen.lineWidth = 2;
  ring(scene, here, middle);
  for (const cause of highlight.causes) link(scene, x(scale, cause), here, middle, top);
  for (const effect of highlight.effects) link(scene, here, x(scale, effect), middle, top);
  for (const at of [...highlight.causes, ...highlight.effects]) ring(scene, x(scale, at), middle);
}

function ring(scene: Scene, pixel: number, middle: number): void {
  const { pen, row } = scene;
  pen.beginPath();
  pen.arc(pixel, middle, row.mark.height / 2 + 1.5, 0, 2 * Math.PI);
  pen.stroke();
}

function link(scene: Scene, from: number, to: number, middle: number, top: number): void {
  const { pen } = scene;
  if (Math.abs(to - from) < 14) return;
  const y = middle;
  pen.beginPath();
  pen.moveTo(from, y);
  pen.quadraticCurveTo((from + to) / 2, top - 4, to, y);
  pen.stroke();
  const direction = Math.sign(to - from);
  pen.beginPath();
  pen.moveTo(to - direction * 9, y - 9);
  pen.lineTo(to - direction * 6, y - 3);
  pen.lineTo(to - direction * 12, y - 2);
  pen.stroke();
}

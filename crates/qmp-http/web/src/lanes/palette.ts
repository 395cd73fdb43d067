// Colours and patterns of the canvas. The colours are those of the style sheet, so that light, dark and forced colours
// need no second list; what differs in meaning differs in pattern too.

import type { Severity } from "../severity.ts";
import type { StateLook } from "../states.ts";

const NAMES = [
  "ground",
  "panel",
  "ink",
  "ink-soft",
  "rule",
  "accent",
  "error",
  "warning",
  "lifecycle",
  "good",
  "news",
  "running",
  "running-edge",
  "stopped",
  "stopped-edge",
  "trouble",
  "trouble-edge",
  "off-edge",
  "unknown-edge",
  "gap",
  "gap-edge",
] as const;

export type ColourName = (typeof NAMES)[number];

export interface Palette {
  colour: { [name in ColourName]: string };
  band: { [look in StateLook]: CanvasPattern | string };
  gap: CanvasPattern | string;
  mixed: CanvasPattern | string;
  font: string;
  ratio: number;
}

export function severityColour(palette: Palette, severity: Severity): string {
  return palette.colour[severity];
}

/** Reads the palette of the style sheet for `element`. */
export function readPalette(element: Element, ratio: number): Palette {
  // A custom property keeps the words that were written, such as `CanvasText`; a colour that is computed can be drawn.
  const probe = document.createElement("span");
  probe.className = "probe";
  element.append(probe);
  const colour = Object.fromEntries(
    NAMES.map((name) => {
      probe.style.color = `var(--${name})`;
      return [name, getComputedStyle(probe).color];
    }),
  ) as Palette["colour"];
  const font = getComputedStyle(element).fontFamily;
  probe.remove();
  return {
    colour,
    font,
    ratio,
    band: {
      running: colour.running,
      stopped: pattern(ratio, 6, colour.stopped, (pen) => bars(pen, colour["stopped-edge"])),
      trouble: pattern(ratio, 5, colour.trouble, (pen) => crosses(pen, colour["trouble-edge"])),
      off: "transparent",
      unknown: pattern(ratio, 5, "transparent", (pen) => dots(pen, colour["unknown-edge"])),
    },
    gap: pattern(ratio, 7, colour.gap, (pen) => diagonals(pen, 7, colour["gap-edge"])),
    mixed: pattern(ratio, 4, colour.stopped, (pen) => halves(pen, colour["trouble-edge"])),
  };
}

/** A tile of `size` by `size` CSS pixels, drawn at the resolution of the screen. */
function pattern(
  ratio: number,
  size: number,
  ground: string,
  draw: (pen: CanvasRenderingContext2D) => void,
): CanvasPattern | string {
  const tile = document.createElement("canvas");
  tile.width = Math.round(size * ratio);
  tile.height = Math.round(size * ratio);
  const pen = tile.getContext("2d");
  if (pen === null) return ground;
  pen.scale(tile.width / size, tile.height / size);
  pen.fillStyle = ground;
  pen.fillRect(0, 0, size, size);
  draw(pen);
  const made = pen.createPattern(tile, "repeat");
  made?.setTransform(new DOMMatrix().scale(size / tile.width, size / tile.height));
  return made ?? ground;
}

/** Two upright bars, as on the button for a pause. */
function bars(pen: CanvasRenderingContext2D, colour: string): void {
  pen.fillStyle = colour;
  pen.fillRect(1, 0, 1, 6);
}

function crosses(pen: CanvasRenderingContext2D, colour: string): void {
  pen.strokeStyle = colour;
  pen.lineWidth = 0.8;
  pen.beginPath();
  pen.moveTo(0, 0);
  pen.lineTo(5, 5);
  pen.moveTo(5, 0);
  pen.lineTo(0, 5);
  pen.stroke();
}

function dots(pen: CanvasRenderingContext2D, colour: string): void {
  pen.fillStyle = colour;
  pen.fillRect(1, 1, 1.5, 1.5);
  pen.fillRect(3.5, 3.5, 1.5, 1.5);
}

function diagonals(pen: CanvasRenderingContext2D, size: number, colour: string): void {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.2;
  pen.beginPath();
  // Three lines, so that the corners of neighbouring tiles meet.
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift - 1, size + 1);
    pen.lineTo(shift + size + 1, -1);
  }
  pen.stroke();
}

function halves(pen: CanvasRenderingContext2D, colour: string): void {
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 2, 4);
}

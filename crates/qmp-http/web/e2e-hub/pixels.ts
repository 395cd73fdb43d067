// What is painted on the lanes. The first lane is read; its heights are those of `rowFor` for a few lanes.

import type { Page } from "playwright-core";
import { EDGE_PIXELS, rowFor } from "../src/lanes/geometry.ts";

const ROW = rowFor(1, false);

/** The moment, in milliseconds since 1970, at which the next mark is painted near the present. */
export function markPaintedAt(page: Page): Promise<number> {
  return page.evaluate(({ top, height }) => {
    const copy = document.createElement("canvas");
    // Chromium complains of a canvas that is read often and was not made for it.
    const pen = copy.getContext("2d", { willReadFrequently: true });
    const read = (): number => {
      const canvas = document.querySelector<HTMLCanvasElement>(".surface canvas");
      if (canvas === null) return 0;
      pen?.clearRect(0, 0, copy.width, copy.height);
      pen?.drawImage(canvas, canvas.width - 30, top, 30, height, 0, 0, 30, height);
      const pixels = pen?.getImageData(0, 0, 30, height).data ?? [];
      return pixels.filter((value, index) => index % 4 === 3 && value > 0).length;
    };
    const before = read();
    return new Promise<number>((resolve) => {
      const look = (): void => {
        if (read() > before) resolve(Date.now());
        else requestAnimationFrame(look);
      };
      look();
    });
  }, ROW.mark);
}

/** The first and last pixel of the only gap in the view, and the width of the view. */
export async function gapOnCanvas(page: Page): Promise<{ from: number; to: number; width: number }> {
  const edge = EDGE_PIXELS;
  const handle = await page.waitForFunction(
    ({ top, height, edge }) => {
      const canvas = document.querySelector<HTMLCanvasElement>(".surface canvas");
      const copy = document.createElement("canvas");
      const pen = copy.getContext("2d", { willReadFrequently: true });
      if (canvas === null || pen === null) return null;
      copy.width = canvas.width;
      copy.height = canvas.height;
      pen.drawImage(canvas, 0, 0);
      // Only a gap covers the whole height above the band, at both of its edges.
      const { data } = pen.getImageData(0, top, canvas.width, height);
      const isFull = (x: number): boolean => {
        for (let y = 0; y < height; y += 1) if (data[(y * canvas.width + x) * 4 + 3] === 0) return false;
        return true;
      };
      const full = Array.from({ length: canvas.width }, (_, x) => x).filter(isFull);
      return full.length < 2
        ? null
        : { from: full[0] ?? 0, to: full.at(-1) ?? 0, width: canvas.width - edge };
    },
    { top: ROW.finding.top, height: ROW.band.top - ROW.finding.top, edge },
  );
  const found = await handle.jsonValue();
  if (found === null) throw new Error("no gap is painted");
  return found;
}

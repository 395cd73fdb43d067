// A canvas at the resolution of the screen.

import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { type Palette, readPalette } from "./palette.ts";

/** Clears the canvas and gives its pen, in CSS pixels. Setting the size of a canvas is slow, so only a change is set. */
export function sizeCanvas(
  canvas: HTMLCanvasElement | null,
  width: number,
  height: number,
  palette: Palette | null,
): CanvasRenderingContext2D | null {
  if (canvas === null || palette === null || width < 1 || height < 1) return null;
  const { ratio } = palette;
  const [deviceWidth, deviceHeight] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== deviceWidth || canvas.height !== deviceHeight) {
    canvas.width = deviceWidth;
    canvas.height = deviceHeight;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen?.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen?.clearRect(0, 0, width, height);
  return pen;
}

/** Paints in the next frame if one of the inputs has changed: many renderings change nothing of a picture. */
export function usePainting(paint: () => void, inputs: readonly unknown[]): void {
  useLayoutEffect(() => {
    const frame = window.requestAnimationFrame(paint);
    return () => window.cancelAnimationFrame(frame);
  }, inputs);
}

/** The palette of the style sheet; read again where the scheme, the contrast or the zoom changes. */
export function usePalette(element: Element | null): Palette | null {
  const [palette, setPalette] = useState<Palette | null>(null);
  useEffect(() => {
    if (element === null) return;
    const read = (): void => setPalette(readPalette(element, window.devicePixelRatio));
    read();
    const queries = ["(prefers-color-scheme: dark)", "(forced-colors: active)", "(prefers-contrast: more)"];
    const lists = queries.map((query) => window.matchMedia(query));
    for (const list of lists) list.addEventListener("change", read);
    window.addEventListener("resize", read);
    return () => {
      for (const list of lists) list.removeEventListener("change", read);
      window.removeEventListener("resize", read);
    };
  }, [element]);
  return palette;
}

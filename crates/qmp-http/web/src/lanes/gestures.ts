// Drag, wheel and pinch on a picture of time.

import { useEffect, useRef } from "preact/hooks";
import { between, clamp, pan, span, type View, zoom } from "../view.ts";

export interface Gestures {
  view: View;
  now(): number;
  /** Called for each step of a gesture. */
  move(view: View): void;
  /** A press without a movement: pixels from the left and the top. */
  press(x: number, y: number): void;
  hover(x: number, y: number): void;
  leave(): void;
}

/** Movements below this are a press. */
const PRESS_PIXELS = 4;

export function useGestures(element: HTMLElement | null, gestures: Gestures): void {
  const latest = useRef(gestures);
  latest.current = gestures;
  useEffect(() => {
    if (element === null) return;
    const tracker = new Tracker(element, latest);
    return tracker.attach();
  }, [element]);
}

class Tracker {
  private readonly element: HTMLElement;
  private readonly latest: { current: Gestures };
  private readonly pointers = new Map<number, { x: number; y: number }>();
  private start: { view: View; x: number; spread: number } | null = null;
  private hasMoved = false;

  constructor(element: HTMLElement, latest: { current: Gestures }) {
    this.element = element;
    this.latest = latest;
  }

  attach(): () => void {
    const abort = new AbortController();
    const { signal } = abort;
    const { element } = this;
    element.addEventListener("pointerdown", (event) => this.down(event), { signal });
    element.addEventListener("pointermove", (event) => this.moved(event), { signal });
    element.addEventListener("pointerup", (event) => this.up(event), { signal });
    element.addEventListener("pointercancel", (event) => this.cancel(event), { signal });
    element.addEventListener("pointerleave", () => this.latest.current.leave(), { signal });
    // Not passive: the zoom of the browser must not follow.
    element.addEventListener("wheel", (event) => this.wheel(event), { signal, passive: false });
    return () => abort.abort();
  }

  private at(event: MouseEvent): { x: number; y: number } {
    const box = this.element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  private begin(): void {
    const { x, spread } = this.middle();
    this.start = { view: this.latest.current.view, x, spread };
  }

  /** The middle of the fingers, and how far they are apart. */
  private middle(): { x: number; spread: number } {
    const xs = [...this.pointers.values()].map((pointer) => pointer.x);
    const [left, right] = [Math.min(...xs), Math.max(...xs)];
    return { x: (left + right) / 2, spread: Math.max(20, right - left) };
  }

  private down(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, this.at(event));
    if (this.pointers.size === 1) this.hasMoved = false;
    this.begin();
  }

  private moved(event: PointerEvent): void {
    const at = this.at(event);
    if (!this.pointers.has(event.pointerId) || this.start === null) {
      this.latest.current.hover(at.x, at.y);
      return;
    }
    this.pointers.set(event.pointerId, at);
    const { x, spread } = this.middle();
    const { view, x: startX, spread: startSpread } = this.start;
    if (!this.hasMoved && Math.abs(x - startX) < PRESS_PIXELS && this.pointers.size === 1) return;
    if (!this.hasMoved) {
      this.hasMoved = true;
      // From here on the gesture is ours, also outside of the element.
      this.element.setPointerCapture(event.pointerId);
    }
    const { width } = this.element.getBoundingClientRect();
    const now = this.latest.current.now();
    const moved = pan(view, (startX - x) / width, now);
    const isPinch = this.pointers.size > 1;
    this.latest.current.move(isPinch ? zoom(moved, startSpread / spread, x / width, now) : moved);
  }

  private up(event: PointerEvent): void {
    if (!this.pointers.delete(event.pointerId)) return;
    const at = this.at(event);
    if (!this.hasMoved && this.pointers.size === 0) this.latest.current.press(at.x, at.y);
    if (this.pointers.size > 0) this.begin();
    else this.start = null;
  }

  private cancel(event: PointerEvent): void {
    this.pointers.delete(event.pointerId);
    this.start = null;
  }

  private wheel(event: WheelEvent): void {
    const { current } = this.latest;
    const { width } = this.element.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const factor = 1.002 ** clamp(event.deltaY * lines, -400, 400);
      current.move(zoom(current.view, factor, this.at(event).x / width, current.now()));
      return;
    }
    const sideways = event.shiftKey && event.deltaX === 0 ? event.deltaY : event.deltaX;
    if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      event.preventDefault();
      current.move(pan(current.view, (sideways * lines) / width, current.now()));
    }
  }
}

/** Chooses a span by dragging: for the histogram, where a drag zooms. */
export function chosen(view: View, width: number, from: number, to: number, now: number): View | null {
  if (Math.abs(to - from) < PRESS_PIXELS) return null;
  const at = (pixel: number): number => view.since + (clamp(pixel, 0, width) / width) * span(view);
  return between(at(from), at(to), now);
}

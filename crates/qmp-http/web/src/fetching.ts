// Answers of the hub as state of a component.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

export interface Fetched<T> {
  value: T | null;
  error: string | null;
  isLoading: boolean;
}

export interface FetchOptions {
  /** How long after a change of the key the request is sent. */
  waitMs?: number;
  /** The pause after which a gesture has ended: its first change is requested at once, and after it the last one. */
  settleMs?: number;
}

/**
 * The answer to the newest request. The last answer stays until the next is there, so that a zoom draws what is known at
 * once. A request that a later one replaces is cancelled. `key` says when a new request is needed.
 */
export function useFetched<T>(
  key: string | null,
  request: (signal: AbortSignal) => Promise<T>,
  { waitMs = 0, settleMs = 0 }: FetchOptions = {},
): Fetched<T> {
  const [state, setState] = useState<Fetched<T>>({ value: null, error: null, isLoading: true });
  const latest = useRef(request);
  latest.current = request;
  const changed = useRef(Number.NEGATIVE_INFINITY);
  // Before the frame is painted, so that the hub works meanwhile.
  useLayoutEffect(() => {
    if (key === null) {
      setState({ value: null, error: null, isLoading: false });
      return;
    }
    const abort = new AbortController();
    setState((before) => (before.isLoading ? before : { ...before, isLoading: true }));
    const send = async (): Promise<void> => {
      try {
        const value = await latest.current(abort.signal);
        if (!abort.signal.aborted) setState({ value, error: null, isLoading: false });
      } catch (error) {
        if (abort.signal.aborted) return;
        setState((before) => ({ ...before, error: message(error), isLoading: false }));
      }
    };
    const isGesture = performance.now() - changed.current < settleMs;
    changed.current = performance.now();
    const wait = isGesture ? Math.max(waitMs, settleMs) : waitMs;
    let timer = 0;
    if (wait === 0) void send();
    else timer = window.setTimeout(send, wait);
    return () => {
      window.clearTimeout(timer);
      abort.abort();
    };
  }, [key]);
  return state;
}

function message(error: unknown): string {
  if (error instanceof TypeError) return "the hub cannot be reached";
  return error instanceof Error ? error.message : String(error);
}

/** The present, renewed every `intervalMs` while `isActive`. */
export function useNow(isActive: boolean, intervalMs: number): number {
  const [now, setNow] = useState(() => Date.now() * 1_000);
  useEffect(() => {
    if (!isActive) return;
    setNow(Date.now() * 1_000);
    const timer = window.setInterval(() => {
      if (!document.hidden) setNow(Date.now() * 1_000);
    }, intervalMs);
    return () => window.clearInterval(timer);
  }, [isActive, intervalMs]);
  return now;
}

/** The size of an element in CSS pixels, also after it changes. */
export function useSize<E extends Element>(): [
  (element: E | null) => void,
  { width: number; height: number },
] {
  const [element, setElement] = useState<E | null>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    if (element === null) return;
    const measured = ({ width, height }: DOMRectReadOnly): void =>
      setSize((before) => (before.width === width && before.height === height ? before : { width, height }));
    measured(element.getBoundingClientRect());
    const observer = new ResizeObserver(([entry]) => {
      if (entry !== undefined) measured(entry.contentRect);
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [element]);
  return [setElement, size];
}

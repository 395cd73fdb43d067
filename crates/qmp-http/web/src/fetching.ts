// Answers of the hub as state of a component.

import { useEffect, useRef, useState } from "preact/hooks";

export interface Fetched<T> {
  value: T | null;
  error: string | null;
  isLoading: boolean;
}

/**
 * The answer to the newest request. The last answer stays until the next is there, so that a zoom draws what is known at
 * once. A request that a later one replaces is cancelled. `key` says when a new request is needed.
 */
export function useFetched<T>(
  key: string | null,
  request: (signal: AbortSignal) => Promise<T>,
  waitMs = 0,
): Fetched<T> {
  const [state, setState] = useState<Fetched<T>>({ value: null, error: null, isLoading: true });
  const latest = useRef(request);
  latest.current = request;
  useEffect(() => {
    if (key === null) {
      setState({ value: null, error: null, isLoading: false });
      return;
    }
    const abort = new AbortController();
    setState((before) => (before.isLoading ? before : { ...before, isLoading: true }));
    const timer = window.setTimeout(async () => {
      try {
        const value = await latest.current(abort.signal);
        if (!abort.signal.aborted) setState({ value, error: null, isLoading: false });
      } catch (error) {
        if (abort.signal.aborted) return;
        setState((before) => ({ ...before, error: message(error), isLoading: false }));
      }
    }, waitMs);
    return () => {
      window.clearTimeout(timer);
      abort.abort();
    };
  }, [key, waitMs]);
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
  useEffect(() => {
    if (element === null) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry !== undefined) setSize({ width: entry.contentRect.width, height: entry.contentRect.height });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [element]);
  return [setElement, size];
}

// What all parts of the page share: where it is, how to go elsewhere, the client, the records of the stream.

import { createContext } from "preact";
import { useContext, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { HubRecord, Micros } from "./api.ts";
import type { Client } from "./client.ts";
import { type PageState, type Place, type RecordKey, readLocation, writeLocation } from "./location.ts";
import type { StreamState } from "./stream.ts";
import { now } from "./time.ts";

/** `push` makes a step for the back button, `replace` none, `gesture` one for a whole gesture. */
export type How = "push" | "replace" | "gesture";

export interface Page {
  client: Client;
  state: PageState;
  go(change: Partial<PageState>, how?: How): void;
  /** Opens the detail of a record of which only the offset is known. */
  selectOffset(offset: number): void;
  select(record: RecordKey | null): void;
  visit(place: Place): void;
  /** Says something to screen readers. */
  announce(text: string): void;
  live: Live;
}

export interface Live {
  state: StreamState;
  /** The last records of the stream, the oldest first. */
  records: readonly HubRecord[];
  /** Counts the batches of records; the timeline is read again after them. */
  batch: number;
}

const Shared = createContext<Page | null>(null);

export const PageProvider = Shared.Provider;

export function usePage(): Page {
  const page = useContext(Shared);
  if (page === null) throw new Error("no page around this part");
  return page;
}

/** Two moves within this time are one gesture. */
const GESTURE_MS = 700;
/** Browsers refuse many changes of the address in a short time. */
const WRITE_MS = 250;

/** The state in the address, and how to change it. */
export function useLocation(usualSpan: Micros | null): { state: PageState; go: Page["go"] } {
  const [state, setState] = useState(() => readLocation(new URL(location.href), now(), usualSpan));
  const newest = useRef(state);
  // Of the first gesture nothing is before it, however soon after the page was opened.
  const gesture = useRef({ at: Number.NEGATIVE_INFINITY, timer: 0 });
  useEffect(() => {
    const back = (): void => {
      window.clearTimeout(gesture.current.timer);
      newest.current = readLocation(new URL(location.href), now(), usualSpan);
      setState(newest.current);
    };
    window.addEventListener("popstate", back);
    return () => window.removeEventListener("popstate", back);
  }, []);
  const go = useMemo(() => {
    return (change: Partial<PageState>, how: How = "push"): void => {
      const { current } = gesture;
      const isFirst = performance.now() - current.at > GESTURE_MS;
      window.clearTimeout(current.timer);
      // The address of the state before a step must be complete: a gesture may not have written it yet.
      if (how === "push" || (how === "gesture" && isFirst)) {
        history.replaceState(null, "", writeLocation(newest.current));
      }
      newest.current = { ...newest.current, ...change };
      const address = writeLocation(newest.current);
      if (how === "push" || (how === "gesture" && isFirst)) history.pushState(null, "", address);
      else current.timer = window.setTimeout(() => history.replaceState(null, "", address), WRITE_MS);
      if (how === "gesture") current.at = performance.now();
      setState(newest.current);
    };
  }, []);
  return { state, go };
}

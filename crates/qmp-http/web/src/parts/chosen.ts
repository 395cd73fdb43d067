// The chosen record in the list: wherever it was chosen, also by a link, the list goes there.

import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { RecordDetail } from "../api.ts";
import { recordKey } from "../client.ts";
import { type Filters, isSameRecord, type PageState, type RecordKey } from "../location.ts";
import { matches } from "../matching.ts";
import { type Page, usePage } from "../page.ts";
import { fromRfc3339, now } from "../time.ts";
import { current, showing } from "../view.ts";
import type { Records } from "./records.ts";

/** Scrolls the list to the chosen record, once, and reads older records until the list has it. */
export function useChosenRow(
  scroller: RefObject<HTMLElement | null>,
  filters: Filters,
  detail: RecordDetail | null,
  { records, hasMore, more, isLoading }: Records,
): void {
  const { state } = usePage();
  const { record } = state;
  const shown = useRef<RecordKey | null>(null);
  useEffect(() => {
    if (isSameRecord(shown.current, record)) return;
    const row = scroller.current?.querySelector(".selected");
    if (record === null || row) {
      shown.current = record;
      if (scroller.current && row) scrollTo(scroller.current, row);
      return;
    }
    const oldest = records.at(-1)?.offset ?? 0;
    const isOlder = detail !== null && detail.record.offset < oldest && isListed(detail, state, filters);
    if (isOlder && hasMore && !isLoading) more();
  });
}

/** Whether the list has the record as soon as it is long enough. */
function isListed({ record }: RecordDetail, state: PageState, filters: Filters): boolean {
  const { since } = current(state.view, now());
  return (
    isSameRecord(recordKey(record), state.record) &&
    fromRfc3339(record.received) >= since &&
    matches(record, filters)
  );
}

/** Scrolls the list alone, and not the page, to a row that is not in it as a whole. */
function scrollTo(list: Element, row: Element): void {
  const [around, { top, bottom, height }] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
  // The day covers the first row.
  if (top >= around.top + height && bottom <= around.bottom) return;
  list.scrollTop += (top + bottom - around.top - around.bottom) / 2;
}

/** A live view goes on, and a link to a record stays: moves such a view to the record with which the page was opened. */
export function useLinkedRecord(
  { state, go }: Pick<Page, "state" | "go">,
  detail: RecordDetail | null,
): void {
  const linked = useRef(state.record);
  useEffect(() => {
    if (detail === null) return;
    const isLinked = isSameRecord(linked.current, recordKey(detail.record));
    linked.current = null;
    const at = fromRfc3339(detail.record.received);
    const view = current(state.view, now());
    if (isLinked && view.live && at < view.since) go({ view: showing(view, at, now()) }, "replace");
  }, [detail]);
}

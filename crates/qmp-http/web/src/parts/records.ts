// The records of the view, read once and then followed by the stream.

import { useMemo, useState } from "preact/hooks";
import type { HubRecord } from "../api.ts";
import { recordRequests } from "../client.ts";
import { useFetched } from "../fetching.ts";
import type { Filters } from "../location.ts";
import { matches } from "../matching.ts";
import { usePage } from "../page.ts";
import { fromRfc3339, now } from "../time.ts";
import { current, span } from "../view.ts";

const FIRST_RECORDS = 200;
/** The most that the hub gives of the end of a range. */
export const RECORDS_MAX = 10_000;
const SETTLE_MS = 200;

export interface Records {
  /** The newest first. */
  records: readonly HubRecord[];
  /** Whether there may be older ones in the view. */
  hasMore: boolean;
  more(): void;
  /** How many were read to find these. */
  read: number;
  error: string | null;
  isLoading: boolean;
}

export function useRecords(filters: Filters): Records {
  const { client, state, live } = usePage();
  const { view } = state;
  const chosen = JSON.stringify([filters.vm, filters.host, filters.event, filters.finding, filters.severity]);
  const range = view.live ? `live ${span(view)}` : `${view.since} ${view.until}`;
  const [wanted, setWanted] = useState({ key: "", last: FIRST_RECORDS });
  // The text is searched here, so it is worth reading more at once.
  const base = filters.text === "" ? FIRST_RECORDS : 5 * FIRST_RECORDS;
  const last = wanted.key === chosen + range ? Math.max(base, wanted.last) : base;
  const fetched = useFetched(
    JSON.stringify([chosen, range, last]),
    async (signal) => {
      await client.idle(signal);
      return readAll(current(view, now()), last, signal);
    },
    { waitMs: SETTLE_MS },
  );

  async function readAll(
    { since, until, live: isLive }: typeof view,
    count: number,
    signal: AbortSignal,
  ): Promise<{ records: HubRecord[]; hasMore: boolean }> {
    // A live view has no end: the hub's clock may be ahead of this one.
    const range = { since, until: isLive ? until + 86_400e6 : until };
    const answers = await Promise.all(
      recordRequests(filters).map((more) => client.records(range, [...more, ["last", count]], signal)),
    );
    return merged(answers, count);
  }

  const known = useMemo(
    () => (fetched.value?.records ?? []).filter((record) => matches(record, filters)).reverse(),
    [fetched.value, chosen, filters.text],
  );
  const records = useMemo(() => {
    const head = fetched.value?.records.at(-1)?.offset ?? 0;
    const isInView = (record: HubRecord): boolean => view.live || fromRfc3339(record.received) <= view.until;
    const followed = live.records.filter((record) => record.offset > head && isInView(record));
    const matching = followed.filter((record) => matches(record, filters)).reverse();
    return matching.length === 0 ? known : [...matching, ...known];
  }, [known, live.records, view]);
  return {
    records,
    hasMore: (fetched.value?.hasMore ?? false) && last < RECORDS_MAX,
    more: () => setWanted({ key: chosen + range, last: Math.min(RECORDS_MAX, last * 3) }),
    read: fetched.value?.records.length ?? 0,
    error: fetched.error,
    isLoading: fetched.isLoading,
  };
}

/** Several answers as one. What is older than the end of an answer that was cut would be a part only, and is left out. */
export function merged(answers: HubRecord[][], count: number): { records: HubRecord[]; hasMore: boolean } {
  const cut = answers.filter((answer) => answer.length >= count);
  const begin = Math.max(0, ...cut.map((answer) => answer[0]?.offset ?? 0));
  const byOffset = new Map<number, HubRecord>();
  for (const record of answers.flat()) if (record.offset >= begin) byOffset.set(record.offset, record);
  return { records: [...byOffset.values()].sort((a, b) => a.offset - b.offset), hasMore: cut.length > 0 };
}

// The stream of records, as state.

import { useEffect, useState } from "preact/hooks";
import type { HubRecord } from "./api.ts";
import type { Client } from "./client.ts";
import type { Live } from "./page.ts";
import { SharedStream } from "./shared.ts";

/** Records that are kept, for the list and the marks that no answer has yet. */
const RECORDS_MAX = 1_000;
/** Records are shown in batches: a storm must not paint the page for each of them. */
const BATCH_MS = 150;

const CLOSED: Live = { state: "closed", records: [], batch: 0 };

/** Streams the records of the VMs after `head`; `null` until it is known. */
export function useLive(
  client: Client,
  vms: readonly string[],
  head: number | null,
  reset: () => void,
): Live {
  const [live, setLive] = useState(CLOSED);
  const key = JSON.stringify(vms);
  const isReady = head !== null;
  useEffect(() => {
    if (head === null) return;
    let waiting: HubRecord[] = [];
    let timer = 0;
    const flush = (): void => {
      timer = 0;
      const batch = waiting;
      waiting = [];
      setLive((before) => ({
        ...before,
        batch: before.batch + 1,
        records: [...before.records, ...batch].slice(-RECORDS_MAX),
      }));
    };
    const stream = new SharedStream(client, vms, head, {
      records: (records) => {
        waiting.push(...records);
        if (timer === 0) timer = window.setTimeout(flush, BATCH_MS);
      },
      state: (state) => setLive((before) => ({ ...before, state })),
      reset,
    });
    setLive(CLOSED);
    stream.start();
    return () => {
      window.clearTimeout(timer);
      stream.stop();
    };
    // A later head must not open another stream: the stream itself follows the head.
  }, [client, key, isReady]);
  return live;
}

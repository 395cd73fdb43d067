// What is wrong with the hub itself: everything else on the page is as old as that.

import type { Hub } from "../api.ts";
import type { Fetched } from "../fetching.ts";
import { visible } from "../text.ts";
import { dateAndClock, fromRfc3339 } from "../time.ts";

export function Notices({ hub }: { hub: Fetched<Hub> }) {
  const stalled = hub.value?.journal_stalled_since ?? null;
  return (
    <>
      {hub.error !== null && (
        <p class="notice trouble" role="alert">
          The hub does not answer: {visible(hub.error)}.
        </p>
      )}
      {stalled !== null && (
        <p class="notice trouble" role="alert">
          The journal cannot be written since {dateAndClock(fromRfc3339(stalled))}; nothing later is shown.
        </p>
      )}
      {(hub.value?.stuck_rules.length ?? 0) > 0 && (
        <p class="notice">
          Rules that are not delivering: {visible(hub.value?.stuck_rules.join(", ") ?? "")}.
        </p>
      )}
    </>
  );
}

// All VMs.

import type { RecordDetail } from "../api.ts";
import type { Fetched } from "../fetching.ts";
import type { LaneData } from "../lanes/data.ts";
import { TimelineView } from "../lanes/timeline.tsx";
import { usePage } from "../page.ts";
import { FilterBar } from "../parts/filters.tsx";
import { Reading } from "../parts/reading.tsx";

interface PlaceProps {
  detail: Fetched<RecordDetail>;
  shows(data: LaneData): void;
  /** Whether the hub has VMs of other hosts. */
  hasHost: boolean;
}

export function FleetPage({ detail, shows, hasHost }: PlaceProps) {
  const { state } = usePage();
  return (
    <main>
      <FilterBar hasVm hasEvent hasHost={hasHost} />
      <TimelineView filters={state.filters} detail={detail.value} shows={shows} />
      <Reading filters={state.filters} detail={detail} title="Records" hasVm />
    </main>
  );
}

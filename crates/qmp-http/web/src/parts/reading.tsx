// The list of records, and beside it the record that was chosen.

import type { RecordDetail } from "../api.ts";
import type { Fetched } from "../fetching.ts";
import type { Filters } from "../location.ts";
import { usePage } from "../page.ts";
import { Detail } from "./detail.tsx";
import { RecordList } from "./list.tsx";

interface ReadingProps {
  filters: Filters;
  detail: Fetched<RecordDetail>;
  title: string;
  hasVm: boolean;
}

export function Reading({ filters, detail, title, hasVm }: ReadingProps) {
  const { state } = usePage();
  const isOpen = state.record !== null;
  return (
    <div class={isOpen ? "reading open" : "reading"}>
      <RecordList filters={filters} detail={isOpen ? detail.value : null} title={title} hasVm={hasVm} />
      {isOpen && <Detail fetched={detail} />}
    </div>
  );
}

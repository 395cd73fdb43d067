// The records of the view as a list, the newest first. It stands still while somebody reads it.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { HubRecord, RecordDetail } from "../api.ts";
import { recordKey } from "../client.ts";
import { type Filters, isSameRecord, type RecordKey, writeLocation } from "../location.ts";
import { recordName, summary } from "../members.ts";
import { usePage } from "../page.ts";
import { severityOf } from "../severity.ts";
import { count, line, plural } from "../text.ts";
import { clock, date, fromRfc3339 } from "../time.ts";
import { useChosenRow } from "./chosen.ts";
import { useRecords } from "./records.ts";

interface ListProps {
  filters: Filters;
  detail: RecordDetail | null;
  title: string;
  /** On the page of a VM the names of VMs say nothing. */
  hasVm: boolean;
}

export function RecordList({ filters, detail, title, hasVm }: ListProps) {
  const { state, select } = usePage();
  const found = useRecords(filters);
  const { records, hasMore, more, read, error, isLoading } = found;
  const [held, setHeld] = useState<number | null>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const newest = records[0]?.offset ?? 0;
  const shown = useMemo(
    () => (held === null ? records : records.filter((record) => record.offset <= held)),
    [records, held],
  );
  const waiting = records.length - shown.length;

  // Another view or other filters are read anew.
  useEffect(() => setHeld(null), [JSON.stringify(filters), state.view.live]);
  const hold = (): void => setHeld((before) => before ?? newest);
  const release = (): void => {
    if (scroller.current !== null && scroller.current.scrollTop === 0) setHeld(null);
  };
  const showNew = (): void => {
    setHeld(newest);
    scroller.current?.scrollTo({ top: 0 });
  };
  useChosenRow(scroller, filters, detail, found);
  // Not for each step of a gesture: records of another view are read after it.
  const rows = useMemo(() => {
    const relations = relationsOf(detail);
    return shown.map((record, index) => (
      <Row
        key={record.offset}
        record={record}
        previous={shown[index - 1]}
        relation={relations.get(relationKey(record)) ?? ""}
        isSelected={isSameRecord(state.record, recordKey(record))}
        isFirst={index === 0}
        hasVm={hasVm}
        address={writeLocation({ ...state, record: recordKey(record) })}
        select={select}
      />
    ));
  }, [shown, detail, hasVm, state.place, state.filters, state.sort, state.table, state.record]);
  return (
    <section
      class="list"
      aria-labelledby="list-title"
      onPointerEnter={hold}
      onPointerLeave={release}
      onFocusCapture={hold}
      onBlurCapture={release}
    >
      <header>
        <h2 id="list-title">{title}</h2>
        <span class="soft">{listText(shown.length, hasMore, filters.text, read)}</span>
        {waiting > 0 && (
          <button type="button" class="new" onClick={showNew}>
            +{count(waiting)} new
          </button>
        )}
      </header>
      {error !== null && <p class="notice trouble">The records are not current: {error}.</p>}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the rows are links; the keys go from one to the next. */}
      <div class="records-scroll" ref={scroller} onScroll={hold} onKeyDown={moveFocus}>
        <ol class={hasVm ? "records" : "records no-vm"}>{rows}</ol>
        {shown.length === 0 && !isLoading && <p class="empty">No records here.</p>}
        {hasMore && (
          <button type="button" class="more" onClick={more} disabled={isLoading}>
            Read older records
          </button>
        )}
      </div>
    </section>
  );
}

function listText(shown: number, hasMore: boolean, text: string, read: number): string {
  if (text !== "" && hasMore)
    return `${plural(shown, "match")}, in the newest ${count(read)} records`.replace("matchs", "matches");
  return hasMore ? `the newest ${count(shown)}` : count(shown);
}

/** What the chosen record has to do with others: they are marked in the list as on the lanes. */
function relationsOf(detail: RecordDetail | null): Map<string, "cause" | "effect"> {
  const relations = new Map<string, "cause" | "effect">();
  for (const record of detail?.causes ?? []) relations.set(relationKey(record), "cause");
  for (const record of detail?.caused ?? []) relations.set(relationKey(record), "effect");
  return relations;
}

function relationKey(record: RecordKey): string {
  return `${record.vm}/${record.epoch}/${record.seq}`;
}

/** Up and down go through the list; only one row of it is a stop for the tabulator. */
function moveFocus(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined || event.shiftKey) return;
  const list = event.currentTarget as HTMLElement;
  const rows = [...list.querySelectorAll<HTMLElement>("a.record")];
  const next = rows[rows.indexOf(document.activeElement as HTMLElement) + step];
  if (next === undefined) return;
  next.focus();
  event.preventDefault();
  event.stopPropagation();
}

interface RowProps {
  record: HubRecord;
  previous: HubRecord | undefined;
  relation: "cause" | "effect" | "";
  isSelected: boolean;
  isFirst: boolean;
  hasVm: boolean;
  address: string;
  select(record: RecordKey): void;
}

function Row({ record, previous, relation, isSelected, isFirst, hasVm, address, select }: RowProps) {
  const at = fromRfc3339(record.received);
  const key = recordKey(record);
  const day = date(at);
  const isNewDay = previous === undefined || date(fromRfc3339(previous.received)) !== day;
  return (
    <>
      {isNewDay && <li class="day">{day}</li>}
      <li>
        <a
          href={address}
          class={`record ${record.kind} ${isSelected ? "selected" : ""} ${relation}`}
          aria-current={isSelected ? "true" : undefined}
          tabIndex={isSelected || isFirst ? 0 : -1}
          onClick={(event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            select(key);
          }}
        >
          <time dateTime={record.received}>{clock(at, 3)}</time>
          {hasVm && <bdi class="vm">{line(record.vm, 40)}</bdi>}
          <Glyph record={record} />
          <span class="name">{line(recordName(record), 60)}</span>
          <span class="text">
            {relation !== "" && <em>{relation === "cause" ? "cause" : "effect"}</em>}
            <bdi>{line(summary(record))}</bdi>
          </span>
        </a>
      </li>
    </>
  );
}

/** The shape of the mark on the lane, as a character. */
export function Glyph({ record }: { record: HubRecord }) {
  const [name, character] = glyphOf(record);
  return (
    <span class={`glyph ${name}`} aria-hidden="true">
      {character}
    </span>
  );
}

function glyphOf(record: HubRecord): [name: string, character: string] {
  if (record.kind === "finding") return ["finding", "▼"];
  if (record.kind !== "event") return ["gap", record.kind === "attached" ? "├" : "┤"];
  const severity = severityOf(record.event);
  const characters = { error: "▲", warning: "◆", lifecycle: "■", good: "●", news: "❘" };
  return [severity, characters[severity]];
}

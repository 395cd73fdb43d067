// Everything about one record: its members and what they mean, what caused it, what it caused.

import { useEffect, useRef, useState } from "preact/hooks";
import type { EventDescription, HubRecord, Neighbours, RecordDetail } from "../api.ts";
import { recordKey } from "../client.ts";
import type { Fetched } from "../fetching.ts";
import { members, recordName, summary, valueText } from "../members.ts";
import { usePage } from "../page.ts";
import { line, visible } from "../text.ts";
import { dateAndClock, duration, fromRfc3339 } from "../time.ts";
import { Link } from "./link.tsx";
import { Glyph } from "./list.tsx";

export function Detail({ fetched }: { fetched: Fetched<RecordDetail> }) {
  const { select } = usePage();
  const heading = useRef<HTMLHeadingElement>(null);
  const { value, error } = fetched;
  const offset = value?.record.offset;
  // A reader of the screen hears what was opened; the list keeps its place for Escape.
  useEffect(() => heading.current?.focus({ preventScroll: true }), [offset]);
  return (
    <section class="detail" aria-label="Record">
      <button type="button" class="close" aria-label="Close the record" onClick={() => select(null)}>
        ✕
      </button>
      {error !== null && <p class="notice trouble">The record cannot be shown: {error}.</p>}
      {value === null && error === null && <p class="soft">Reading the record…</p>}
      {value !== null && (
        <>
          <h2 ref={heading} tabIndex={-1}>
            <Glyph record={value.record} />
            <Name record={value.record} />
          </h2>
          <Facts record={value.record} />
          <Meaning detail={value} />
          <Members record={value.record} meaning={value.meaning} />
          <Related title="Caused by" records={value.causes} from={value.record} />
          <Related title="Led to" records={value.caused} from={value.record} />
          <Steps before={value.before} after={value.after} record={value.record} />
          <Raw record={value.record} />
        </>
      )}
    </section>
  );
}

function Name({ record }: { record: HubRecord }) {
  if (record.kind !== "event") return <span>{line(recordName(record), 60)}</span>;
  return <Link place={{ page: "event", name: record.event }}>{line(record.event, 60)}</Link>;
}

function Facts({ record }: { record: HubRecord }) {
  const received = fromRfc3339(record.received);
  return (
    <p class="facts">
      <Link place={{ page: "vm", name: record.vm }}>
        <bdi>{line(record.vm)}</bdi>
      </Link>
      <time dateTime={record.received}>{dateAndClock(received, 6)}</time>
      <span>
        epoch {record.epoch}, number {record.seq}
      </span>
      <VmClock record={record} received={received} />
    </p>
  );
}

/** The clock of the VM's host, where it says something else than ours. */
function VmClock({ record, received }: { record: HubRecord; received: number }) {
  if (record.kind !== "event" || record.timestamp === undefined) return null;
  const at = record.timestamp.seconds * 1e6 + record.timestamp.microseconds;
  const late = received - at;
  if (Math.abs(late) < 100_000) return null;
  return (
    <span>
      {late > 0 ? `happened ${duration(late)} before` : `its host's clock is ${duration(-late)} ahead`}
    </span>
  );
}

function Meaning({ detail }: { detail: RecordDetail }) {
  const { record, meaning } = detail;
  if (record.kind !== "event") return <p class="meaning">{visible(summary(record))}</p>;
  if (meaning === null) return <p class="meaning soft">The catalogue does not know this event.</p>;
  return <p class="meaning">{meaning.summary}</p>;
}

function Members({ record, meaning }: { record: HubRecord; meaning: EventDescription | null }) {
  const data =
    record.kind === "attached" ? record.snapshot : record.kind === "detached" ? undefined : record.data;
  const list = members(data, meaning);
  if (list.length === 0) return null;
  return (
    <dl class="members">
      {list.map(({ path, value, entry }) => (
        <div key={path}>
          <dt>{line(path, 80)}</dt>
          <dd>
            <bdi class="value">{valueText(value, entry?.unit ?? null)}</bdi>
            {entry !== null && <span class="soft">{entry.summary}</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Related({
  title,
  records,
  from,
}: {
  title: string;
  records: readonly HubRecord[];
  from: HubRecord;
}) {
  const { select } = usePage();
  if (records.length === 0) return null;
  const here = fromRfc3339(from.received);
  return (
    <>
      <h3>{title}</h3>
      <ul class="related">
        {records.map((record) => (
          <li key={record.offset}>
            <button type="button" onClick={() => select(recordKey(record))}>
              <Glyph record={record} />
              <span class="name">{line(recordName(record), 60)}</span>
              <span class="soft">{distance(fromRfc3339(record.received) - here)}</span>
              <bdi class="text">{line(summary(record))}</bdi>
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function distance(span: number): string {
  if (span === 0) return "at the same time";
  return span < 0 ? `${duration(-span)} before` : `${duration(span)} later`;
}

function Steps({
  before,
  after,
  record,
}: {
  before: Neighbours | null;
  after: Neighbours | null;
  record: HubRecord;
}) {
  return (
    <div class="steps">
      <Step text="‹ Previous of this VM" offset={before?.vm} />
      <Step text="Next of this VM ›" offset={after?.vm} />
      {record.kind === "event" && (
        <>
          <Step text={`‹ Previous ${line(record.event, 40)}`} offset={before?.event} />
          <Step text={`Next ${line(record.event, 40)} ›`} offset={after?.event} />
        </>
      )}
    </div>
  );
}

function Step({ text, offset }: { text: string; offset: number | null | undefined }) {
  const { selectOffset } = usePage();
  if (offset === null || offset === undefined) return null;
  return (
    <button type="button" onClick={() => selectOffset(offset)}>
      {text}
    </button>
  );
}

function Raw({ record }: { record: HubRecord }) {
  const text = JSON.stringify(record, null, 2);
  return (
    <details class="raw">
      <summary>JSON</summary>
      <div class="copies">
        <Copy label="Copy JSON" text={() => text} />
        <Copy label="Copy link" text={() => location.href} />
      </div>
      <pre>{visibleLines(text)}</pre>
    </details>
  );
}

/** Control characters in JSON are escaped already; what is left are line ends, and invisible characters. */
function visibleLines(text: string): string {
  return text.split("\n").map(visible).join("\n");
}

function Copy({ label, text }: { label: string; text: () => string }) {
  const [isDone, setDone] = useState(false);
  // Browsers give the clipboard to HTTPS and localhost only.
  if (navigator.clipboard === undefined) return null;
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(text());
    setDone(true);
  };
  return (
    <button type="button" onClick={() => void copy()} onBlur={() => setDone(false)}>
      {isDone ? "Copied" : label}
    </button>
  );
}

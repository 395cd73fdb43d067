// One event: what it means, in which releases, which VMs send it, how often.

import type { Counts, EventDescription, EventMember, RecordDetail } from "../api.ts";
import { exactly } from "../client.ts";
import { type Fetched, useFetched } from "../fetching.ts";
import type { LaneData } from "../lanes/data.ts";
import { TimelineView } from "../lanes/timeline.tsx";
import type { Filters } from "../location.ts";
import { usePage } from "../page.ts";
import { FilterBar } from "../parts/filters.tsx";
import { Link } from "../parts/link.tsx";
import { Rate } from "../parts/rate.tsx";
import { Reading } from "../parts/reading.tsx";
import { severityOf } from "../severity.ts";
import { count, line, visible } from "../text.ts";
import { duration } from "../time.ts";
import { current, span } from "../view.ts";

interface EventPageProps {
  name: string;
  detail: Fetched<RecordDetail>;
  shows(data: LaneData): void;
}

export function EventPage({ name, detail, shows }: EventPageProps) {
  const { client, state, live } = usePage();
  const filters: Filters = { ...state.filters, event: [exactly(name)], finding: [], severity: [] };
  const catalogue = useFetched("catalogue", (signal) => client.catalogue(signal));
  const description = catalogue.value?.find((event) => event.name === name) ?? null;
  const { view } = state;
  const range = view.live
    ? `live ${span(view)} ${Math.floor(live.batch / 8)}`
    : `${view.since} ${view.until}`;
  const counts = useFetched(
    JSON.stringify([name, range, filters.vm, filters.host]),
    async (signal) => {
      await client.idle(signal);
      return client.counts(
        current(view, Date.now() * 1_000),
        filters,
        [
          ["by", "vm"],
          ["by", "event"],
          ["buckets", 60],
          ["top", 20],
        ],
        signal,
      );
    },
    { waitMs: 150 },
  );
  return (
    <main>
      {catalogue.value !== null && (description === null ? <Unknown /> : <Description event={description} />)}
      <FilterBar hasVm hasEvent={false} />
      {counts.value !== null && (
        <div class="two">
          <Rate
            label="How often"
            since={counts.value.since}
            bucket={counts.value.bucket}
            series={[{ severity: severityOf(name), values: counts.value.by.event?.[0]?.spark ?? [] }]}
          />
          <Senders counts={counts.value} />
        </div>
      )}
      <TimelineView filters={filters} detail={detail.value} shows={shows} />
      <Reading filters={filters} detail={detail} title="Records" hasVm />
    </main>
  );
}

function Unknown() {
  return (
    <p class="notice">
      The catalogue does not know this event: QEMU is newer than it, or another program sends it.
    </p>
  );
}

function Description({ event }: { event: EventDescription }) {
  return (
    <section class="description" aria-label="Meaning">
      <p class="lead">{event.summary}</p>
      <p class="facts">
        <span>{releases(event)}</span>
        <span>{event.module}</span>
        {event.condition !== null && <span>needs {event.condition}</span>}
        {event.unstable && <span>unstable</span>}
        {event.throttle !== null && (
          <span>
            at most one in {duration(event.throttle.interval_ms * 1_000)}
            {event.throttle.key !== null && ` for each ${event.throttle.key}`}
            {event.throttle.exempt !== null && `, except: ${event.throttle.exempt}`}
          </span>
        )}
      </p>
      {event.notes.map((note) => (
        <p key={note} class="soft">
          {note}
        </p>
      ))}
      {event.members.length > 0 && <MemberTable members={event.members} />}
      {event.sequels.length > 0 && (
        <>
          <h2>What follows</h2>
          <ul>
            {event.sequels.map((sequel) => (
              <li key={sequel.event + sequel.when}>
                <Link place={{ page: "event", name: sequel.event }}>{sequel.event}</Link> {sequel.when}
                {sequel.note !== null && <span class="soft"> {sequel.note}</span>}
              </li>
            ))}
          </ul>
        </>
      )}
      {event.ends.length > 0 && (
        <>
          <h2>QEMU exits after it</h2>
          <ul>
            {event.ends.map((end) => (
              <li key={end.when}>
                {end.when}
                {end.note !== null && <span class="soft"> {end.note}</span>}
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function releases(event: EventDescription): string {
  const parts = [`since QEMU ${event.since}`];
  if (event.deprecated !== null) parts.push(`deprecated in ${event.deprecated}`);
  if (event.removed !== null) parts.push(`removed in ${event.removed}`);
  return parts.join(", ");
}

function MemberTable({ members }: { members: EventMember[] }) {
  return (
    <div class="scroll-x">
      <table class="members-table">
        <thead>
          <tr>
            <th scope="col">Member</th>
            <th scope="col">Type</th>
            <th scope="col">Meaning</th>
            <th scope="col">Releases</th>
          </tr>
        </thead>
        <tbody>
          {members.map((member) => (
            <tr key={member.name}>
              <th scope="row">
                {member.name}
                {member.optional && <span class="soft"> (optional)</span>}
              </th>
              <td>
                {member.type}
                {member.unit !== null && <span class="soft"> in {member.unit}</span>}
              </td>
              <td>
                {member.summary}
                {member.values !== null && (
                  <span class="soft"> One of {member.values.map((value) => String(value)).join(", ")}.</span>
                )}
              </td>
              <td>
                {member.since ?? ""}
                {member.removed !== null && ` – ${member.removed}`}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Senders({ counts }: { counts: Counts }) {
  const vms = counts.by.vm ?? [];
  if (vms.length === 0) return <p class="empty">No VM sent it in this time.</p>;
  const most = Math.max(1, ...vms.map((vm) => vm.count));
  const other = counts.other.vm;
  return (
    <ol class="counts" aria-label="VMs that sent it">
      {vms.slice(0, 8).map((vm) => (
        <li key={vm.name}>
          <Link place={{ page: "vm", name: vm.name }}>
            <bdi class="name">{line(vm.name, 48)}</bdi>
            <span class="number">{count(vm.count)}</span>
            <span class="bar accent" style={{ width: `${(vm.count / most) * 100}%` }} aria-hidden="true" />
          </Link>
        </li>
      ))}
      {vms.length > 8 || (other !== undefined && other.names > 0) ? (
        <li class="soft">
          and {visible(count(vms.length - Math.min(8, vms.length) + (other?.names ?? 0)))} more
        </li>
      ) : null}
    </ol>
  );
}

// One VM: its state and since when, why, its jobs, its lane, its records, and the commands that were given.

import { useState } from "preact/hooks";
import type { Counts, RecordDetail, Running, VmAlone } from "../api.ts";
import { exactlyVm, HubError, positionKey } from "../client.ts";
import { type Fetched, useFetched, useNow } from "../fetching.ts";
import type { LaneData } from "../lanes/data.ts";
import { TimelineView } from "../lanes/timeline.tsx";
import type { Filters } from "../location.ts";
import { usePage } from "../page.ts";
import { FilterBar } from "../parts/filters.tsx";
import { Rate, type Series } from "../parts/rate.tsx";
import { Reading } from "../parts/reading.tsx";
import { asSeverity } from "../severity.ts";
import { stateLook, stateText } from "../states.ts";
import { plural, visible } from "../text.ts";
import { dateAndClock, fromRfc3339, soFar } from "../time.ts";
import { current, span } from "../view.ts";

interface VmPageProps {
  name: string;
  detail: Fetched<RecordDetail>;
  shows(data: LaneData): void;
}

export function VmPage({ name, detail, shows }: VmPageProps) {
  const { client, state, live } = usePage();
  const [isCommands, setCommands] = useState(false);
  const filters: Filters = { ...state.filters, vm: [exactlyVm(name)] };
  const listed: Filters = isCommands
    ? { ...filters, event: [], severity: [], finding: ["command"] }
    : filters;
  const vm = useFetched(`${name} ${live.batch}`, (signal) => client.vm(name, signal).catch(noneIfUnknown), {
    waitMs: live.batch > 0 ? 300 : 0,
  });
  const { view } = state;
  const range = view.live
    ? `live ${span(view)} ${Math.floor(live.batch / 8)}`
    : `${view.since} ${view.until}`;
  const counts = useFetched(
    JSON.stringify([name, range]),
    async (signal) => {
      await client.idle(signal);
      return client.counts(
        current(view, Date.now() * 1_000),
        { ...filters, event: [] },
        [
          ["by", "event"],
          ["buckets", 60],
          ["top", 40],
        ],
        signal,
      );
    },
    { waitMs: 150 },
  );
  return (
    <main>
      {vm.error !== null && <p class="notice">{visible(vm.error)}</p>}
      {vm.value !== null && <Cards vm={vm.value} />}
      {vm.value === null && vm.error === null && !vm.isLoading && (
        <p class="notice">
          The hub does not follow a VM of this name. Its records, if there are any, are below.
        </p>
      )}
      <FilterBar hasVm={false} hasEvent />
      <TimelineView filters={filters} detail={detail.value} shows={shows} />
      <div class="two">
        {counts.value !== null && (
          <>
            <Rate
              label="Events"
              since={counts.value.since}
              bucket={counts.value.bucket}
              series={bySeverity(counts.value)}
            />
            <EventCounts counts={counts.value} />
          </>
        )}
      </div>
      <div class="tabs">
        <button type="button" aria-pressed={!isCommands} onClick={() => setCommands(false)}>
          All records
        </button>
        <button type="button" aria-pressed={isCommands} onClick={() => setCommands(true)}>
          Commands, and by whom
        </button>
      </div>
      <Reading filters={listed} detail={detail} title={isCommands ? "Commands" : "Records"} hasVm={false} />
    </main>
  );
}

/** The page of a VM that has left the hub shows its records. */
function noneIfUnknown(error: unknown): null {
  if (error instanceof HubError && error.status === 404) return null;
  throw error;
}

function Cards({ vm }: { vm: VmAlone }) {
  const { select } = usePage();
  const now = useNow(true, 1_000);
  const since = vm.run_since === null ? null : fromRfc3339(vm.run_since);
  const look = stateLook(vm.run_state);
  const cause = vm.why?.causes.at(-1);
  return (
    <section class="cards" aria-label="State">
      <div class="card wide">
        <h2>
          <span class={`dot ${look}`} aria-hidden="true" />
          {stateText(vm.run_state)}
          {vm.run_state_assumed === true && <span class="soft"> (assumed)</span>}
        </h2>
        {since !== null && (
          <p class="soft">
            for {soFar(now - since)}, since {dateAndClock(since)}
          </p>
        )}
        {vm.why !== null && <p>{visible(vm.why.summary)}</p>}
        {cause !== undefined && (
          <p>
            <button type="button" class="quiet" onClick={() => select(positionKey(vm.vm, cause))}>
              Show the record
            </button>
          </p>
        )}
      </div>
      <div class="card">
        <h3>Monitor</h3>
        <p>
          {vm.state === "attached"
            ? "watched"
            : vm.state === "in-use"
              ? "in use by another client"
              : vm.state}{" "}
          for {soFar(now - fromRfc3339(vm.since))}
        </p>
        {vm.silent_since !== undefined && (
          <p class="trouble-text">no answer for {soFar(now - fromRfc3339(vm.silent_since))}</p>
        )}
        {vm.also_on !== undefined && (
          <p class="trouble-text">
            also runs on <bdi>{visible(vm.also_on.join(", "))}</bdi>
          </p>
        )}
        {vm.error !== undefined && <p class="trouble-text">{visible(vm.error)}</p>}
        <p class="soft">
          <bdi>{visible(vm.address)}</bdi>
        </p>
      </div>
      <div class="card">
        <h3>Machine</h3>
        <p>{vm.qemu === null ? "QEMU of unknown release" : `QEMU ${visible(vm.qemu)}`}</p>
        {vm.name !== undefined && (
          <p class="soft">
            name <bdi>{visible(vm.name)}</bdi>
          </p>
        )}
        {vm.uuid !== undefined && <p class="soft">{visible(vm.uuid)}</p>}
      </div>
      {(vm.jobs.length > 0 || vm.migration !== undefined) && (
        <div class="card">
          <h3>In progress</h3>
          {vm.migration !== undefined && <Progress running={vm.migration} name="migration" now={now} />}
          {vm.jobs.map((job) => (
            <Progress key={job.id} running={job} name={`${job.type ?? "job"} ${job.id ?? ""}`} now={now} />
          ))}
        </div>
      )}
      {vm.relays.length > 0 && (
        <div class="card">
          <h3>Relays</h3>
          {vm.relays.map((relay) => (
            <p key={relay.path} class="soft">
              <bdi>{visible(relay.path)}</bdi>: {plural(relay.clients, "client")},{" "}
              {plural(relay.commands, "command")}
            </p>
          ))}
        </div>
      )}
    </section>
  );
}

function Progress({ running, name, now }: { running: Running; name: string; now: number }) {
  const isBusy = !["concluded", "completed", "failed", "null"].includes(running.status);
  return (
    <p class="job">
      <bdi>{visible(name)}</bdi> <strong>{visible(running.status)}</strong>
      <span class="soft"> for {soFar(now - fromRfc3339(running.since))}</span>
      {/* The hub knows that it goes on, and not how far it is. */}
      {isBusy && <progress aria-label={`${visible(name)} is in progress`} />}
      {running.error !== undefined && <span class="trouble-text">{visible(running.error)}</span>}
    </p>
  );
}

function bySeverity(counts: Counts): Series[] {
  const events = counts.by.event ?? [];
  return events.map((event) => ({
    severity: asSeverity(event.severity ?? "") ?? "news",
    values: event.spark,
  }));
}

function EventCounts({ counts }: { counts: Counts }) {
  const { visit } = usePage();
  const events = (counts.by.event ?? []).slice(0, 8);
  if (events.length === 0) return <p class="empty">No events in this time.</p>;
  const most = Math.max(1, ...events.map((event) => event.count));
  return (
    <ol class="counts" aria-label="Most frequent events">
      {events.map((event) => (
        <li key={event.name}>
          <button type="button" onClick={() => visit({ page: "event", name: event.name })}>
            <span class="name">{visible(event.name)}</span>
            <span class="number">{event.count.toLocaleString("en-GB")}</span>
            <span
              class={`bar ${asSeverity(event.severity ?? "news") ?? "news"}`}
              style={{ width: `${(event.count / most) * 100}%` }}
              aria-hidden="true"
            />
          </button>
        </li>
      ))}
    </ol>
  );
}

// The head of each page: where one is, which time is shown, whether it is live.

import { matches } from "../matching.ts";
import { usePage } from "../page.ts";
import { count, line } from "../text.ts";
import { dateAndClock, duration, fromRfc3339, now } from "../time.ts";
import { current, liveView, PRESETS, pan, span, zoom } from "../view.ts";
import { Link } from "./link.tsx";

export function Header({ help }: { help(): void }) {
  const { state } = usePage();
  const { place } = state;
  return (
    <header class="top">
      <nav aria-label="Place">
        <Link place={{ page: "fleet" }}>
          <strong>qmp-events</strong>
        </Link>
        {place.page !== "fleet" && (
          <>
            <span class="soft" aria-hidden="true">
              /
            </span>
            <span class="soft">{place.page === "vm" ? "VM" : "Event"}</span>
            <h1>
              <bdi>{line(place.name, 60)}</bdi>
            </h1>
          </>
        )}
        {place.page === "fleet" && <h1 class="hidden">All VMs</h1>}
      </nav>
      <TimeControls />
      <button type="button" class="quiet help" onClick={help} title="Keys (?)" aria-label="Keys and help">
        ?
      </button>
    </header>
  );
}

function TimeControls() {
  const { state, go } = usePage();
  const view = current(state.view, now());
  const length = span(view);
  const preset = view.live ? (PRESETS.find(([, one]) => one === length)?.[0] ?? "") : "";
  return (
    <div class="time" role="group" aria-label="Time">
      {!view.live && (
        <span class="range">
          <RangeText since={view.since} until={view.until} />
        </span>
      )}
      <div class="buttons">
        <button
          type="button"
          title="Back in time (A)"
          aria-label="Earlier"
          onClick={() => go({ view: pan(view, -0.5, now()) }, "gesture")}
        >
          ‹
        </button>
        <button
          type="button"
          title="Zoom out (S)"
          aria-label="Zoom out"
          onClick={() => go({ view: zoom(view, 2, 0.5, now()) }, "gesture")}
        >
          −
        </button>
        <button
          type="button"
          title="Zoom in (W)"
          aria-label="Zoom in"
          onClick={() => go({ view: zoom(view, 0.5, view.live ? 1 : 0.5, now()) }, "gesture")}
        >
          +
        </button>
        <button
          type="button"
          title="Forward in time (D)"
          aria-label="Later"
          onClick={() => go({ view: pan(view, 0.5, now()) }, "gesture")}
        >
          ›
        </button>
      </div>
      <select
        aria-label="Length of time"
        value={preset}
        onChange={(event) => {
          const chosen = PRESETS.find(([text]) => text === event.currentTarget.value);
          if (chosen !== undefined) go({ view: liveView(now(), chosen[1]) });
        }}
      >
        {preset === "" && (
          <option value="" hidden>
            {view.live ? `Last ${duration(length)}` : "Last…"}
          </option>
        )}
        {PRESETS.map(([text]) => (
          <option key={text} value={text}>
            Last {text}
          </option>
        ))}
      </select>
      <LiveButton />
    </div>
  );
}

function RangeText({ since, until }: { since: number; until: number }) {
  return (
    <>
      <span>{dateAndClock(since)}</span>
      <span class="soft"> + {duration(until - since)}</span>
    </>
  );
}

const STREAM_TEXTS = { open: "Live", connecting: "Connecting…", closed: "Live" } as const;

function LiveButton() {
  const { state, go, live } = usePage();
  const { view, filters } = state;
  const waiting = view.live
    ? 0
    : live.records.filter((record) => fromRfc3339(record.received) > view.until && matches(record, filters))
        .length;
  const toggle = (): void => {
    if (view.live) go({ view: { ...current(view, now()), live: false } });
    else go({ view: liveView(now(), span(view)) });
  };
  return (
    <button
      type="button"
      class={`live ${view.live ? live.state : "off"}`}
      aria-pressed={view.live}
      title={view.live ? "Stand still (L)" : "Follow the present (L)"}
      onClick={toggle}
    >
      <span class="lamp" aria-hidden="true" />
      {view.live ? STREAM_TEXTS[live.state] : "Go live"}
      {waiting > 0 && <span class="waiting">+{count(waiting)} new</span>}
    </button>
  );
}

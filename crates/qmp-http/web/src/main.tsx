// The page of a hub: what happened to its VMs, drawn over time.

import { render } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import type { Micros, RecordDetail } from "./api.ts";
import { Client, exactlyVm, recordKey } from "./client.ts";
import { useFetched } from "./fetching.ts";
import { useKeys } from "./keyboard.ts";
import type { LaneData } from "./lanes/data.ts";
import { useLive } from "./live.ts";
import { hasTimes, NO_FILTERS, type PageState } from "./location.ts";
import { type Page, PageProvider, useLocation } from "./page.ts";
import { EventPage } from "./pages/event.tsx";
import { FleetPage } from "./pages/fleet.tsx";
import { VmPage } from "./pages/vm.tsx";
import { useLinkedRecord } from "./parts/chosen.ts";
import { Header } from "./parts/header.tsx";
import { Help } from "./parts/help.tsx";
import { Notices } from "./parts/notices.tsx";
import { TokenPrompt } from "./parts/token.tsx";
import { fromRfc3339, now } from "./time.ts";
import { DEFAULT_SPAN, firstSpan } from "./view.ts";

function Root() {
  const [token, setToken] = useState<{ wasRefused: boolean } | null>(null);
  const [generation, setGeneration] = useState(0);
  const client = useMemo(
    () => new Client((wasRefused) => setToken((before) => before ?? { wasRefused })),
    [generation],
  );
  if (token !== null) {
    const done = (): void => {
      setToken(null);
      setGeneration(generation + 1);
    };
    return <TokenPrompt wasRefused={token.wasRefused} done={done} />;
  }
  return <App key={generation} client={client} restart={() => setGeneration(generation + 1)} />;
}

/** The VMs whose records the stream has. */
function streamed(state: PageState): string[] {
  return state.place.page === "vm" ? [exactlyVm(state.place.name)] : state.filters.vm;
}

interface AppProps {
  client: Client;
  restart(): void;
}

/** Shows the page as soon as the time that it begins with is known: at once where the address has it. */
function App(props: AppProps) {
  const { client } = props;
  const [isGiven] = useState(() => hasTimes(new URL(location.href)));
  const oldest = useFetched(isGiven ? null : "oldest", (signal) => client.oldest(signal));
  if (isGiven) return <Shown usualSpan={null} {...props} />;
  if (oldest.isLoading) return null;
  const first = oldest.value === null ? null : fromRfc3339(oldest.value.received);
  return <Shown usualSpan={oldest.error === null ? firstSpan(first, now()) : DEFAULT_SPAN} {...props} />;
}

function Shown({ client, restart, usualSpan }: AppProps & { usualSpan: Micros | null }) {
  const { state, go } = useLocation(usualSpan);
  const [isHelp, setHelp] = useState(false);
  const [spoken, setSpoken] = useState("");
  const [shown, setShown] = useState<LaneData | null>(null);
  const hub = useFetched("hub", (signal) => client.hub(signal));
  const live = useLive(client, streamed(state), hub.value?.head ?? null, restart);
  const { record } = state;
  const detail = useFetched<RecordDetail>(record === null ? null : JSON.stringify(record), (signal) => {
    if (record === null) throw new Error("no record is chosen");
    return client.detail(record, signal);
  });
  useLinkedRecord({ state, go }, detail.value);
  const opening = useRef<AbortController | null>(null);
  const page: Page = {
    client,
    state,
    live,
    go,
    announce: setSpoken,
    select: (key) => go({ record: key }),
    selectOffset: (offset) => {
      opening.current?.abort();
      const abort = new AbortController();
      opening.current = abort;
      client
        .detailAt(offset, abort.signal)
        .then((found) => go({ record: recordKey(found.record) }))
        .catch((error) => {
          if (!abort.signal.aborted) setSpoken(`The record cannot be shown: ${error.message}`);
        });
    },
    visit: (place) => {
      go({ place, record: null, filters: NO_FILTERS });
      window.scrollTo({ top: 0 });
    },
  };
  useKeys({ page, timeline: shown?.timeline ?? null, detail: detail.value, help: () => setHelp(true) });
  const { place } = state;
  return (
    <PageProvider value={page}>
      <Header help={() => setHelp(true)} />
      <Notices hub={hub} />
      {place.page === "fleet" && (
        <FleetPage detail={detail} shows={setShown} hasHost={(hub.value?.from ?? []).length > 0} />
      )}
      {place.page === "vm" && <VmPage key={place.name} name={place.name} detail={detail} shows={setShown} />}
      {place.page === "event" && (
        <EventPage key={place.name} name={place.name} detail={detail} shows={setShown} />
      )}
      {isHelp && <Help close={() => setHelp(false)} />}
      <p class="hidden" role="status">
        {spoken}
      </p>
    </PageProvider>
  );
}

render(<Root />, document.body);

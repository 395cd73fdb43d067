// One stream for all tabs of a browser, which has six connections for each host: more visible tabs must not use all of them.
//
// The tab that holds a lock reads the records of all VMs, and passes them to the others through a channel. A tab joins when it is
// shown: it listens, reads once what was recorded after its position, and continues with what it heard meanwhile. A hidden tab
// leaves. The browser gives the lock of a tab that left or was closed to the next one.

import type { HubRecord } from "./api.ts";
import { type Client, HubError } from "./client.ts";
import { matchesVm } from "./matching.ts";
import { RETRY_MS, RecordStream, type StreamListener, type StreamState } from "./stream.ts";

const NAME = "qmp-events records";

/** Records that a tab reads when it is shown again: as many as it keeps. */
const CATCH_UP_MAX = 1_000;

type Part =
  | { kind: "records"; records: HubRecord[] }
  | { kind: "state"; state: StreamState }
  | { kind: "reset" }
  /** Another tab reads from here on: earlier records are not passed on. */
  | { kind: "begin"; position: number };

/** The records of the VMs that match `vms`, after a position. */
export class SharedStream {
  private readonly client: Client;
  private readonly vms: readonly string[];
  private readonly listener: StreamListener;
  private position: number;
  private membership: AbortController | null = null;

  constructor(client: Client, vms: readonly string[], after: number, listener: StreamListener) {
    this.client = client;
    this.vms = vms;
    this.position = after;
    this.listener = listener;
  }

  start(): void {
    document.addEventListener("visibilitychange", this.visibility);
    this.visibility();
  }

  stop(): void {
    document.removeEventListener("visibilitychange", this.visibility);
    this.leave();
  }

  private visibility = (): void => {
    if (document.hidden) this.leave();
    else if (this.membership === null) void this.join();
  };

  private leave(): void {
    this.membership?.abort();
    this.membership = null;
    this.listener.state("closed");
  }

  private async join(): Promise<void> {
    const membership = new AbortController();
    const { signal } = membership;
    this.membership = membership;
    this.listener.state("connecting");
    const channel = new BroadcastChannel(NAME);
    signal.addEventListener("abort", () => channel.close());
    const early: Part[] = [];
    channel.onmessage = ({ data }: MessageEvent<Part>) => early.push(data);
    try {
      await this.catchUp(signal);
    } catch (error) {
      if (signal.aborted) return;
      const status = error instanceof HubError ? error.status : 0;
      // The token prompt starts the page again.
      if (status === 401) return;
      if (status === 400 && (await this.isOfAnotherJournal(signal))) return this.listener.reset();
      // The hub refuses the filter: trying again changes nothing.
      if (status === 400) return this.listener.state("closed");
      membership.abort();
      window.setTimeout(() => {
        if (this.membership === membership) void this.join();
      }, RETRY_MS);
      return;
    }
    this.listener.state("open");
    for (const part of early) {
      this.take(part);
      if (signal.aborted) return;
    }
    channel.onmessage = ({ data }: MessageEvent<Part>) => this.take(data);
    // Only pages of this host or over TLS have locks: elsewhere each tab reads for itself.
    if (navigator.locks === undefined) await this.lead(channel, signal);
    else await navigator.locks.request(NAME, { signal }, () => this.lead(channel, signal)).catch(() => {});
  }

  /** Reads the last records after the position: a tab that was hidden for long does not show all of them. */
  private async catchUp(signal: AbortSignal): Promise<void> {
    const vms = this.vms.map((pattern): [string, string] => ["vm", pattern]);
    const range: [string, number][] = [
      ["after", this.position],
      ["last", CATCH_UP_MAX],
    ];
    this.records(await this.client.records(null, [...range, ...vms], signal));
  }

  /** Whether the position is beyond the end of the journal, which was replaced. */
  private async isOfAnotherJournal(signal: AbortSignal): Promise<boolean> {
    const hub = await this.client.hub(signal).catch(() => null);
    return hub !== null && hub.head < this.position;
  }

  /** Reads for all tabs until this one leaves. */
  private lead(channel: BroadcastChannel, signal: AbortSignal): Promise<void> {
    const pass = (part: Part): void => {
      channel.postMessage(part);
      this.take(part);
    };
    pass({ kind: "begin", position: this.position });
    const stream = new RecordStream(this.client, this.position, {
      records: (records) => pass({ kind: "records", records }),
      state: (state) => pass({ kind: "state", state }),
      reset: () => pass({ kind: "reset" }),
    });
    void stream.start();
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        stream.stop();
        resolve();
      });
    });
  }

  private take(part: Part): void {
    if (part.kind === "records") this.records(part.records);
    else if (part.kind === "state") this.listener.state(part.state);
    else if (part.kind === "reset") this.listener.reset();
    else if (part.position > this.position) {
      this.membership?.abort();
      void this.join();
    }
  }

  private records(records: HubRecord[]): void {
    const isNew = ({ offset, vm }: HubRecord): boolean =>
      offset > this.position && (this.vms.length === 0 || this.vms.some((glob) => matchesVm(glob, vm)));
    this.listener.records(records.filter(isNew));
    this.position = Math.max(this.position, records.at(-1)?.offset ?? 0);
  }
}

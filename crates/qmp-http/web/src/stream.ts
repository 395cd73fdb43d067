// The hub's server-sent events, read by `fetch`: `EventSource` cannot send a token.

import type { HubRecord } from "./api.ts";
import type { Client } from "./client.ts";
import { HubError, parseRecord } from "./client.ts";

export interface Message {
  id: string;
  event: string;
  data: string;
}

/** Splits a stream into messages, by the rules of the HTML standard as far as the hub uses them. */
export class MessageParser {
  private rest = "";
  private id = "";
  private event = "";
  private data: string[] = [];

  /** The id that a later connection continues from. */
  get lastId(): string {
    return this.id;
  }

  push(text: string): Message[] {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    const messages: Message[] = [];
    for (const line of lines) {
      if (line === "") {
        if (this.data.length > 0)
          messages.push({ id: this.id, event: this.event, data: this.data.join("\n") });
        this.data = [];
        this.event = "";
        continue;
      }
      const colon = line.indexOf(":");
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "id") this.id = value;
      else if (name === "event") this.event = value;
      else if (name === "data") this.data.push(value);
    }
    return messages;
  }

  /** Forgets the part of a message that a broken connection left. */
  restart(): void {
    this.rest = "";
    this.data = [];
    this.event = "";
  }
}

export type StreamState = "closed" | "connecting" | "open";

export interface StreamListener {
  /** The next records; none if the hub removed records before it sent them. */
  records(records: HubRecord[]): void;
  state(state: StreamState): void;
  /** The position belongs to another journal: the hub was started with a new one. */
  reset(): void;
}

export const RETRY_MS = 2_000;

/** The stream of the records of all VMs, with reconnection. */
export class RecordStream {
  private readonly client: Client;
  private readonly listener: StreamListener;
  private readonly connection = new AbortController();
  private parser = new MessageParser();
  private lastId: string;
  private retry: number | undefined;

  constructor(client: Client, after: number, listener: StreamListener) {
    this.client = client;
    this.lastId = String(after);
    this.listener = listener;
  }

  stop(): void {
    window.clearTimeout(this.retry);
    this.connection.abort();
  }

  async start(): Promise<void> {
    const { signal } = this.connection;
    this.listener.state("connecting");
    try {
      const response = await this.client.open("/v1/events", [], {
        headers: { "Last-Event-ID": this.lastId },
        signal,
      });
      await this.read(response);
    } catch (error) {
      if (signal.aborted) return;
      const status = error instanceof HubError ? error.status : 0;
      // The token prompt starts the page again.
      if (status === 401) return;
      if (status === 400) {
        this.listener.reset();
        return;
      }
    }
    if (signal.aborted) return;
    this.listener.state("connecting");
    this.retry = window.setTimeout(() => void this.start(), RETRY_MS);
  }

  private async read(response: Response): Promise<void> {
    if (response.body === null) return;
    this.parser.restart();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    this.listener.state("open");
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.connection.signal.aborted) return;
      const messages = this.parser.push(value);
      if (this.parser.lastId !== "") this.lastId = this.parser.lastId;
      // Records that retention removed before they were sent: only the hub's next answer has the truth.
      const records = messages.filter(({ event }) => event !== "removed");
      if (messages.length > 0) this.listener.records(records.map(({ data }) => parseRecord(data)));
    }
  }
}

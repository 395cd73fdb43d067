// The hub's server-sent events, read by `fetch`: `EventSource` cannot send a token.

import type { Client } from "./client.ts";
import { HubError } from "./client.ts";

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
  message(message: Message): void;
  state(state: StreamState): void;
  /** The position belongs to another journal: the hub was started with a new one. */
  reset(): void;
}

const RETRY_MS = 2_000;

/** One stream with reconnection. It is closed while the tab is hidden: a browser has six connections for each host. */
export class RecordStream {
  private readonly client: Client;
  private readonly parameters: [string, string | number][];
  private readonly listener: StreamListener;
  private parser = new MessageParser();
  private lastId: string;
  private connection: AbortController | null = null;
  private retry: number | undefined;

  constructor(
    client: Client,
    parameters: [string, string | number][],
    after: number,
    listener: StreamListener,
  ) {
    this.client = client;
    this.parameters = parameters;
    this.lastId = String(after);
    this.listener = listener;
  }

  start(): void {
    document.addEventListener("visibilitychange", this.visibility);
    this.visibility();
  }

  stop(): void {
    document.removeEventListener("visibilitychange", this.visibility);
    this.close();
  }

  private visibility = (): void => {
    if (document.hidden) this.close();
    else if (this.connection === null) void this.connect();
  };

  private close(): void {
    window.clearTimeout(this.retry);
    this.connection?.abort();
    this.connection = null;
    this.listener.state("closed");
  }

  private async connect(): Promise<void> {
    const connection = new AbortController();
    this.connection = connection;
    this.listener.state("connecting");
    try {
      const response = await this.client.open("/v1/events", this.parameters, {
        headers: { "Last-Event-ID": this.lastId },
        signal: connection.signal,
      });
      await this.read(response);
    } catch (error) {
      if (connection.signal.aborted) return;
      const status = error instanceof HubError ? error.status : 0;
      // The token prompt starts the page again.
      if (status === 401) return;
      if (status === 400) {
        this.listener.reset();
        return;
      }
    }
    if (connection.signal.aborted) return;
    this.listener.state("connecting");
    this.retry = window.setTimeout(() => void this.connect(), RETRY_MS);
  }

  private async read(response: Response): Promise<void> {
    if (response.body === null) return;
    this.parser.restart();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    this.listener.state("open");
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const message of this.parser.push(value)) this.listener.message(message);
      if (this.parser.lastId !== "") this.lastId = this.parser.lastId;
    }
  }
}

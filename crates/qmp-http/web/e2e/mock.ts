// A hub of records in memory, for tests of the page.

import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { HubRecord, VmAlone } from "../src/api.ts";
import { fromRfc3339, toRfc3339 } from "../src/time.ts";
import { counts, detail, selected, timeline } from "./answers.ts";
import { CATALOGUE, fleet } from "./fleet.ts";

const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  "X-Content-Type-Options": "nosniff",
};

export interface MockOptions {
  vms: readonly string[];
  days: number;
}

export class Mock {
  readonly records: HubRecord[];
  readonly server: Server;
  private readonly streams = new Set<ServerResponse>();

  constructor(options: MockOptions) {
    this.records = fleet(options.vms, Date.now() * 1_000 - 5e6, options.days);
    this.server = createServer((request, response) => this.answer(request, response));
  }

  get streamCount(): number {
    return this.streams.size;
  }

  listen(port: number): Promise<string> {
    return new Promise((resolve) => {
      this.server.listen(port, "127.0.0.1", () => {
        const address = this.server.address();
        resolve(`http://127.0.0.1:${typeof address === "object" ? address?.port : port}`);
      });
    });
  }

  close(): void {
    for (const stream of this.streams) stream.end();
    this.server.closeAllConnections();
    this.server.close();
  }

  /** Adds an event of the VM now, and sends it to the streams. */
  event(vm: string, event: string, data?: unknown): HubRecord {
    const last = this.records.findLast((record) => record.vm === vm);
    const record: HubRecord = {
      offset: (this.records.at(-1)?.offset ?? 0) + 1,
      vm,
      epoch: last?.epoch ?? 1,
      seq: (last?.seq ?? 0) + 1,
      received: toRfc3339(Date.now() * 1_000),
      kind: "event",
      event,
      ...(data === undefined ? {} : { data }),
    };
    this.records.push(record);
    for (const stream of this.streams) stream.write(message(record));
    return record;
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    const isInterface = url.pathname.startsWith("/v1/");
    if (!isInterface) return file(url.pathname, response);
    if (url.pathname === "/v1/events") return this.stream(request, response);
    const found = this.found(url);
    if (found === undefined) json(response, { error: { class: "NotFound", desc: "nothing here" } }, 404);
    else if (typeof found === "string")
      response.writeHead(200, { "Content-Type": "application/x-ndjson" }).end(found);
    else json(response, found);
  }

  private found(url: URL): unknown {
    const { records } = this;
    const query = url.searchParams;
    const parts = url.pathname.split("/").slice(2).map(decodeURIComponent);
    const [first, vm = "", kind, epoch, seq] = parts;
    if (first === "hub")
      return {
        version: "0",
        journal: "memory",
        journal_id: null,
        head: records.at(-1)?.offset ?? 0,
        journal_health: "writing",
        journal_stalled_since: null,
        started: toRfc3339(0),
        pid: 1,
        stuck_rules: [],
        damaged: [],
        addresses: [],
      };
    if (first === "catalogue") return CATALOGUE;
    if (first === "timeline") return timeline(records, query);
    if (first === "counts") return counts(records, query);
    if (first === "records" && vm === "") {
      const chosen = selected(records, query);
      return chosen
        .slice(-Number(query.get("last") ?? chosen.length))
        .map((record) => `${JSON.stringify(record)}\n`)
        .join("");
    }
    const record =
      first === "records"
        ? records.find(({ offset }) => offset === Number(vm))
        : kind === "records"
          ? records.find(
              (other) => other.vm === vm && other.epoch === Number(epoch) && other.seq === Number(seq),
            )
          : undefined;
    if (record !== undefined) return detail(records, record);
    if (first === "vms" && kind === undefined) return vmAlone(records, vm);
    return undefined;
  }

  private stream(request: IncomingMessage, response: ServerResponse): void {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    const after = Number(request.headers["last-event-id"] ?? 0);
    response.write(`retry: 2000\nid: ${after}\n\n`);
    for (const record of this.records) if (record.offset > after) response.write(message(record));
    this.streams.add(response);
    request.on("close", () => this.streams.delete(response));
  }
}

function message(record: HubRecord): string {
  return `id: ${record.offset}\nevent: ${record.kind}\ndata: ${JSON.stringify(record)}\n\n`;
}

function vmAlone(records: readonly HubRecord[], vm: string): VmAlone | undefined {
  const own = records.filter((record) => record.vm === vm);
  const last = own.at(-1);
  if (last === undefined) return undefined;
  const why = own.findLast((record) => record.kind === "finding" && record.finding.startsWith("why"));
  const resumed = own.findLast((record) => {
    return record.kind === "attached" || (record.kind === "event" && record.event === "RESUME");
  });
  const isFinding = why?.kind === "finding" && why.offset > (resumed?.offset ?? 0);
  return {
    vm,
    address: `unix:/run/${vm}.sock`,
    origin: "configuration",
    state: "attached",
    since: own[0]?.received ?? "",
    epoch: last.epoch,
    attached: true,
    run_state: isFinding ? String(why.data?.run_state ?? "running") : "running",
    run_since: isFinding ? why.received : last.received,
    why: isFinding
      ? { cause: String(why.data?.cause), by: "qemu", summary: why.summary, causes: why.causes }
      : null,
    qemu: "9.2.1",
    name: vm,
    uuid: "00000000-0000-4000-8000-000000000001",
    last_events: [],
    jobs: [
      {
        id: "backup0",
        type: "backup",
        status: "running",
        since: toRfc3339(fromRfc3339(last.received) - 240e6),
      },
    ],
    relays: [],
  };
}

function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
}

function file(path: string, response: ServerResponse): void {
  const isAsset = path.startsWith("/assets/");
  const type = path.endsWith(".js")
    ? "text/javascript"
    : path.endsWith(".css")
      ? "text/css"
      : "text/html; charset=utf-8";
  try {
    response.writeHead(200, { ...HEADERS, "Content-Type": type });
    response.end(readFileSync(isAsset ? `dist${path}` : "dist/index.html"));
  } catch {
    response.end();
  }
}

/** Names as an installation has them. */
export function names(count: number): string[] {
  const roles = ["web", "db", "build", "mail", "cache", "queue", "proxy", "app"];
  return Array.from({ length: count }, (_, index) => {
    const digits = String(Math.floor(index / roles.length) + 1).padStart(count > 100 ? 3 : 1, "0");
    return `${roles[index % roles.length]}${digits}`;
  });
}

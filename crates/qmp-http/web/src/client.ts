// Requests to the hub. The page only reads: there is no request but GET.

import type {
  Counts,
  EventDescription,
  Findings,
  Hub,
  HubRecord,
  Position,
  RecordDetail,
  Timeline,
  Vm,
  VmAlone,
} from "./api.ts";
import type { Filters, RecordKey } from "./location.ts";
import { eventsOf } from "./severity.ts";
import { toRfc3339 } from "./time.ts";

const TOKEN_KEY = "qmp-events-token";

/** The response of the hub to a request that it refused. */
export class HubError extends Error {
  readonly status: number;

  constructor(status: number, description: string) {
    super(description);
    this.status = status;
  }
}

export interface Range {
  since: number;
  until: number;
}

type Parameters = [name: string, value: string | number][];

/** Called where the hub requires a token, or refuses the one of this tab. */
export type TokenRequired = (wasRefused: boolean) => void;

/** How long the answer to an urgent request may take to be painted. In a hidden tab nothing is. */
const PAINT_MAX_MS = 500;

export class Client {
  private readonly tokenRequired: TokenRequired;
  /** Urgent requests without an answer, and painting. */
  private urgent = 0;
  private waiting: (() => void)[] = [];

  constructor(tokenRequired: TokenRequired) {
    this.tokenRequired = tokenRequired;
  }

  /** Keeps the token until the tab is closed. It is never part of an address. */
  static keepToken(token: string): void {
    sessionStorage.setItem(TOKEN_KEY, token);
  }

  async open(path: string, parameters: Parameters, init: RequestInit = {}): Promise<Response> {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const headers = new Headers(init.headers);
    if (token !== null) headers.set("Authorization", `Bearer ${token}`);
    const query = new URLSearchParams(parameters.map(([name, value]) => [name, String(value)])).toString();
    // A token of this origin is all that identifies the reader: cookies are not sent.
    const response = await fetch(query === "" ? path : `${path}?${query}`, {
      ...init,
      headers,
      credentials: "omit",
    });
    if (response.ok) return response;
    if (response.status === 401) this.tokenRequired(token !== null);
    throw new HubError(response.status, await description(response));
  }

  private async json<T>(path: string, parameters: Parameters, signal?: AbortSignal): Promise<T> {
    const response = await this.open(path, parameters, { signal: signal ?? null });
    return (await response.json()) as T;
  }

  /** Does a request before all others: those that wait for `idle` begin after it was painted. */
  async first<T>(request: Promise<T>): Promise<T> {
    this.urgent += 1;
    const ended = (): void => {
      this.urgent -= 1;
      if (this.urgent === 0) for (const resume of this.waiting.splice(0)) resume();
    };
    try {
      return await request;
    } finally {
      afterPaint(ended);
    }
  }

  /** Waits while there is an urgent request. */
  async idle(signal: AbortSignal): Promise<void> {
    while (this.urgent > 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
    signal.throwIfAborted();
  }

  hub(signal?: AbortSignal): Promise<Hub> {
    return this.json("/v1/hub", [], signal);
  }

  vms(signal?: AbortSignal): Promise<Vm[]> {
    return this.json<Vm[]>("/v1/vms", [], signal).then((vms) => vms.map(qualified));
  }

  vm(name: string, signal?: AbortSignal): Promise<VmAlone> {
    return this.json<VmAlone>(`/v1/vms/${encodeURIComponent(name)}`, [], signal).then(qualified);
  }

  catalogue(signal?: AbortSignal): Promise<EventDescription[]> {
    return this.json("/v1/catalogue", [], signal);
  }

  timeline(range: Range, filters: Filters, more: Parameters, signal?: AbortSignal): Promise<Timeline> {
    const parameters = [...times(range), ...filterParameters(filters), ...more];
    return this.json<Timeline>("/v1/timeline", parameters, signal).then((timeline) => {
      return { ...timeline, lanes: timeline.lanes.map(qualified) };
    });
  }

  counts(range: Range, filters: Filters, more: Parameters, signal?: AbortSignal): Promise<Counts> {
    return this.json("/v1/counts", [...times(range), ...filterParameters(filters), ...more], signal);
  }

  findings(parameters: Parameters, signal?: AbortSignal): Promise<Findings> {
    return this.json<Findings>("/v1/findings", parameters, signal).then((page) => {
      return { ...page, findings: page.findings.map(qualified) };
    });
  }

  detail(key: RecordKey, signal?: AbortSignal): Promise<RecordDetail> {
    const path = `/v1/vms/${encodeURIComponent(key.vm)}/records/${key.epoch}/${key.seq}`;
    return this.json<RecordDetail>(path, [], signal).then(qualifiedDetail);
  }

  detailAt(offset: number, signal?: AbortSignal): Promise<RecordDetail> {
    return this.json<RecordDetail>(`/v1/records/${offset}`, [], signal).then(qualifiedDetail);
  }

  /** The oldest record of the journal; `null` if it has none. */
  async oldest(signal?: AbortSignal): Promise<HubRecord | null> {
    const line = await firstLine(await this.open("/v1/records", [], { signal: signal ?? null }));
    return line === "" ? null : parseRecord(line);
  }

  /** The last records of a range, the oldest first. */
  async records(range: Range | null, more: Parameters, signal?: AbortSignal): Promise<HubRecord[]> {
    const parameters: Parameters = range === null ? more : [...times(range), ...more];
    const response = await this.open("/v1/records", parameters, { signal: signal ?? null });
    const lines = (await response.text()).split("\n");
    return lines.filter((line) => line !== "").map(parseRecord);
  }
}

/** Names a VM of another host `HOST/VM`, as everywhere in the page; the hub sends the host as a member of its own. */
export function qualified<T extends { vm: string; host?: string }>(value: T): T {
  return value.host === undefined || value.vm.includes("/")
    ? value
    : { ...value, vm: `${value.host}/${value.vm}` };
}

function qualifiedDetail(detail: RecordDetail): RecordDetail {
  const { record, causes, caused } = detail;
  return {
    ...detail,
    record: qualified(record),
    causes: causes.map(qualified),
    caused: caused.map(qualified),
  };
}

/** Reads a record from its line of JSON. */
export function parseRecord(line: string): HubRecord {
  return qualified(JSON.parse(line) as HubRecord);
}

/** The first line of a response, of which the rest is not read. */
async function firstLine(response: Response): Promise<string> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (reader !== undefined && !text.includes("\n")) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
  }
  await reader?.cancel();
  return text.split("\n")[0] ?? "";
}

function times(range: Range): Parameters {
  return [
    ["since", toRfc3339(range.since)],
    ["until", toRfc3339(range.until)],
  ];
}

/** Which VMs, as the hub understands it. */
function vmParameters({ vm, host }: Filters): Parameters {
  const names = vm.map((pattern): [string, string] => ["vm", pattern]);
  return [...names, ...host.map((pattern): [string, string] => ["host", pattern])];
}

/** Filters as the hub understands them. The text is searched by the page. */
export function filterParameters(filters: Filters): Parameters {
  const parameters = vmParameters(filters);
  for (const name of filters.event) parameters.push(["event", name]);
  return parameters;
}

/**
 * The requests whose answers together have the records of the filters: the hub selects events by name and findings by
 * their kind, so that "errors and warnings, and findings" are two requests.
 */
export function recordRequests(filters: Filters): Parameters[] {
  const vm = vmParameters(filters);
  const events = filters.event.length > 0 ? filters.event : eventsOf(filters.severity);
  const requests: Parameters[] = [];
  if (events !== null && events.length > 0) {
    requests.push([...vm, ...events.map((name): [string, string] => ["event", name])]);
  }
  if (filters.finding.length > 0) {
    for (const kind of filters.finding)
      requests.push([...vm, ["kind", "finding"], ["where", `finding=${kind}`]]);
  } else if (requests.length > 0 && filters.event.length === 0) {
    requests.push([...vm, ["kind", "finding"]]);
  }
  return requests.length > 0 ? requests : [vm];
}

/** A pattern that matches exactly this VM: without a host, no VM of another host. */
export function exactlyVm(name: string): string {
  return name.includes("/") ? exactly(name) : `/${exactly(name)}`;
}

/** A pattern that matches exactly this name. */
export function exactly(name: string): string {
  return name.replace(/[\\*?[\]{}]/g, "\\$&");
}

async function description(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    return String(JSON.parse(text).error.desc);
  } catch {
    return `the hub answers ${response.status}`;
  }
}

export function positionKey(vm: string, [epoch, seq]: Position): RecordKey {
  return { vm, epoch, seq };
}

export function recordKey(record: HubRecord): RecordKey {
  return { vm: record.vm, epoch: record.epoch, seq: record.seq };
}

/** Calls `then` once when what was changed just now has been painted: in the next frame, and shown with the one after it. */
function afterPaint(then: () => void): void {
  const done = (): void => {
    window.clearTimeout(timer);
    window.cancelAnimationFrame(frame);
    then();
  };
  const timer = window.setTimeout(done, PAINT_MAX_MS);
  let left = 3;
  const next = (): void => {
    left -= 1;
    if (left === 0) done();
    else frame = window.requestAnimationFrame(next);
  };
  let frame = window.requestAnimationFrame(next);
}

// A hub and its emulated machines, as processes of the program that QMP_PROGRAM names.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { HubRecord, Vm } from "../src/api.ts";

const START_MAX_MS = 20_000;

export function program(): string {
  const path = process.env.QMP_PROGRAM ?? "";
  if (!existsSync(path)) throw new Error(`QMP_PROGRAM must name the program qmp, and is "${path}"`);
  return path;
}

export interface InstallationOptions {
  /** Tokens that the port requires. */
  token?: string;
  /** Whether the hub records findings; it does unless this is false. */
  findings?: boolean;
}

/** A directory with the sockets, the journal and the configuration of one hub, and its processes. */
export class Installation {
  readonly directory = mkdtempSync(join(tmpdir(), "qmp-page-"));
  private readonly token: string | undefined;
  private readonly findings: boolean;
  private readonly vms: string[] = [];
  private readonly machines: ChildProcess[] = [];
  private hub: ChildProcess | null = null;
  private port = 0;

  constructor(options: InstallationOptions = {}) {
    this.token = options.token;
    this.findings = options.findings ?? true;
    // A failed test must not leave machines behind.
    process.once("exit", () => this.killAll());
    process.once("SIGTERM", () => process.exit(1));
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get socket(): string {
    return join(this.directory, "hub.sock");
  }

  get journal(): string {
    return join(this.directory, "journal.db");
  }

  /** The monitor of the machine. */
  monitor(vm: string): string {
    return join(this.directory, `${vm}.sock`);
  }

  /** Starts an emulated machine, or what else serves a monitor: the arguments name the command. */
  async machine(vm: string, command: string[] = ["emulate", "--name", vm]): Promise<void> {
    this.vms.push(vm);
    const machine = this.spawn([...command, "--listen", `unix:${this.monitor(vm)}`]);
    this.machines.push(machine);
    await poll(`the monitor of ${vm}`, () => existsSync(this.monitor(vm)));
  }

  /**
   * Starts the hub, again at the port that it had, and waits until it follows the machines in `attached`. `more` are
   * further arguments.
   */
  async serve(attached: readonly string[] = this.vms, more: readonly string[] = []): Promise<void> {
    const configuration = join(this.directory, "hub.toml");
    writeFileSync(configuration, this.configuration());
    const hub = this.spawn(["serve", "--config", configuration, ...more]);
    this.hub = hub;
    let log = "";
    hub.stderr?.on("data", (text) => {
      log += text;
    });
    await poll("a port", () => {
      if (hub.exitCode !== null) throw new Error(`the hub ended:\n${log}`);
      this.port = Number(/serving +tcp:127\.0\.0\.1:(\d+)/.exec(log)?.[1] ?? 0);
      return this.port > 0;
    });
    await poll("the machines", async () => {
      const vms = (await this.get("/v1/vms")) as Vm[];
      return attached.every((name) => vms.some(({ vm, state }) => vm === name && state === "attached"));
    });
  }

  /** Ends the hub: by SIGTERM in order, by SIGKILL as in a crash. */
  async stop(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const { hub } = this;
    if (hub === null || hub.exitCode !== null) return;
    const ended = new Promise((resolve) => hub.once("exit", resolve));
    hub.kill(signal);
    await ended;
    this.hub = null;
  }

  async close(): Promise<void> {
    await this.stop("SIGTERM");
    this.killAll();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** A command to the machine by a second client of its monitor, not by the hub: an act of guest or host. */
  async act(vm: string, ...command: string[]): Promise<void> {
    await promisify(execFile)(program(), ["exec", this.monitor(vm), ...command], { env: environment() });
  }

  async get(path: string): Promise<unknown> {
    return (await this.fetch(path)).json();
  }

  async records(query: string): Promise<HubRecord[]> {
    const lines = (await (await this.fetch(`/v1/records?${query}`)).text()).split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as HubRecord);
  }

  /** Waits for a record that the query selects. */
  async recorded(query: string): Promise<HubRecord> {
    let found: HubRecord | undefined;
    await poll(`a record of ${query}`, async () => {
      found = (await this.records(query)).at(-1);
      return found !== undefined;
    });
    if (found === undefined) throw new Error(query);
    return found;
  }

  private fetch(path: string): Promise<Response> {
    const headers = this.token === undefined ? {} : { Authorization: `Bearer ${this.token}` };
    return fetch(this.url + path, { headers });
  }

  private configuration(): string {
    const quoted = JSON.stringify;
    const address = `tcp:127.0.0.1:${this.port}`;
    let port = quoted(address);
    if (this.token !== undefined) {
      const tokens = join(this.directory, "tokens");
      writeFileSync(tokens, `page ${this.token} observe\n`);
      chmodSync(tokens, 0o600);
      port = `{ address = ${quoted(address)}, token-file = ${quoted(tokens)} }`;
    }
    const vms = this.vms.map((vm) => {
      return `[[vm]]\nname = ${quoted(vm)}\naddress = ${quoted(`unix:${this.monitor(vm)}`)}\n`;
    });
    return [
      `journal = ${quoted(this.journal)}`,
      `findings = ${this.findings}`,
      `http = [${quoted(`unix:${this.socket}`)}, ${port}]\n`,
      ...vms,
    ].join("\n");
  }

  private spawn(command: string[]): ChildProcess {
    // The directory of a demonstration is removed with this one, also where the hub is killed.
    const env = { ...environment(), TMPDIR: this.directory };
    return spawn(program(), command, { env, stdio: ["ignore", "ignore", "pipe"] });
  }

  private killAll(): void {
    for (const process of [this.hub, ...this.machines]) process?.kill("SIGKILL");
  }
}

/** Runs `steps` with an installation of its own, which is closed also where they fail. */
export async function installed(
  options: InstallationOptions,
  steps: (installation: Installation) => Promise<void>,
): Promise<void> {
  const installation = new Installation(options);
  try {
    await steps(installation);
  } finally {
    await installation.close();
  }
}

/** Without the hub and the journal that the caller's environment may name. */
function environment(): NodeJS.ProcessEnv {
  const { QMP_HUB: _hub, QMP_JOURNAL: _journal, JOURNAL_STREAM: _stream, ...rest } = process.env;
  return rest;
}

export async function poll(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + START_MAX_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// The page in a browser, against a hub with emulated machines: `node --test build/e2e-hub/page.test.mjs`.

import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { accessible, address, hide, launch, length, listen, ready, rows, visit } from "../e2e/browser.ts";
import { fromRfc3339 } from "../src/time.ts";
import { Installation, installed } from "./hub.ts";
import { gapOnCanvas, markPaintedAt } from "./pixels.ts";

/** How long the hub is dead: more than the slack of every comparison. */
const CRASH_MS = 3_000;

let browser: Browser;
let hub: Installation;
/** The last record before the hub was killed, and when that was, in microseconds. */
let crash: { last: number; at: number };

before(async () => {
  browser = await launch();
  hub = new Installation();
  await Promise.all(["web1", "db1", "mail1"].map((vm) => hub.machine(vm)));
  await hub.serve();
  await hub.act("db1", "x-host-block-fault", "node-name=disk0-node", "operation=write", "error=ENOSPC");
  await hub.act("db1", "x-guest-write", "id=disk0");
  await hub.recorded("vm=db1&where=finding=why-paused");
  await hub.act("mail1", "x-guest-shutdown");
  await hub.recorded("vm=mail1&where=finding=why-ended");
  await hub.act("web1", "x-guest-set-clock", "offset=60");
  const last = await hub.recorded("vm=web1&event=RTC_CHANGE");
  await hub.stop("SIGKILL");
  crash = { last: fromRfc3339(last.received), at: Date.now() * 1_000 };
  await new Promise((resolve) => setTimeout(resolve, CRASH_MS));
  await hub.serve(["web1", "db1"]);
});

after(async () => {
  await browser.close();
  await hub.close();
});

test("mark_is_painted_within_a_second_of_its_event", async () => {
  const [vms, delays]: [string[], number[]] = [["web1", "web2", "web3"], []];
  await installed({}, async (other) => {
    await Promise.all(vms.map((vm) => other.machine(vm)));
    await other.serve();
    // Other programs may delay a browser, but not each time.
    for (const vm of vms) {
      await visit(browser, `${other.url}/?vm=${vm}`, {}, async (page) => {
        await ready(page);
        await page.locator(".live.open").waitFor();
        const painted = markPaintedAt(page);
        await other.act(vm, "x-guest-watchdog");
        const { received } = await other.recorded(`vm=${vm}&event=WATCHDOG`);
        delays.push((await painted) - fromRfc3339(received) / 1_000);
        await rows(page, "WATCHDOG").first().waitFor();
      });
    }
  });
  assert.ok(Math.min(...delays) < 1_000, `${delays} ms`);
});

test("young_hub_shows_all_of_its_records", async () => {
  await visit(browser, hub.url, {}, async (page) => {
    await ready(page);
    assert.match(await page.getByLabel("Length of time").inputValue(), /^(5|15) minutes$/);
    await page.locator("a.record.attached").nth(2).waitFor();
  });
});

test("zoom_filter_detail_causes_link_and_back", async () => {
  await visit(browser, hub.url, {}, async (page) => {
    await ready(page);
    await page.keyboard.press("a");
    await address(page, ({ searchParams }) => searchParams.has("since"));
    const whole = length(page);
    // Two keys in a moment are one gesture, and one step back.
    await page.waitForTimeout(800);
    await page.keyboard.press("w");
    await address(page, () => length(page) < whole);
    await page.goBack();
    await address(page, () => length(page) === whole);
    await page.goBack();
    await page.locator(".live.open").waitFor();

    await page.getByRole("textbox", { name: /^VM/ }).fill("db*");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Errors" }).click();
    await address(page, ({ searchParams }) => searchParams.get("severity") === "error");
    await page.reload();
    await ready(page);
    assert.equal(await rows(page, "RTC_CHANGE").count(), 0);
    assert.deepEqual(await page.locator(".lane-name a").allTextContents(), ["db1"]);

    await rows(page, "why-paused").first().click();
    await page.getByRole("heading", { name: "Caused by" }).waitFor();
    await page.locator(".related .name", { hasText: "STOP" }).waitFor();
    await page.locator("a.record.cause", { hasText: "BLOCK_IO_ERROR" }).waitFor();
    await page.locator(".related button", { hasText: "BLOCK_IO_ERROR" }).click();
    await page.getByRole("heading", { name: "Led to" }).waitFor();
    await page.locator("a.record.effect", { hasText: "why-paused" }).waitFor();
    await page.locator(".members", { hasText: "No space left on device" }).waitFor();

    const link = page.url();
    await page.goto("about:blank");
    await page.goto(link);
    await page.locator(".detail h2", { hasText: "BLOCK_IO_ERROR" }).waitFor();
    await page.locator(".detail summary").click();
    await page.locator(".detail pre", { hasText: '"kind": "event"' }).waitFor();
  });
});

test("gap_of_a_killed_hub_has_its_true_length", async () => {
  const attached = (await hub.records("vm=web1&kind=attached")).at(-1);
  const end = fromRfc3339(attached?.received ?? "");
  const [since, until] = [crash.last - 4e6, end + 4e6];
  const window = `since=${new Date(since / 1_000).toISOString()}&until=${new Date(until / 1_000).toISOString()}`;
  await visit(browser, `${hub.url}/?vm=web1&${window}`, {}, async (page) => {
    await ready(page);
    const gap = await gapOnCanvas(page);
    const seconds = (pixel: number): number => (pixel * (until - since)) / gap.width / 1e6;
    // The hub was certain until its last record at least, and until its death at most.
    const slack = 0.1;
    assert.ok(seconds(gap.from) > (crash.last - since) / 1e6 - slack, `begins at ${seconds(gap.from)} s`);
    assert.ok(seconds(gap.from) < (crash.at - since) / 1e6 + slack, `begins at ${seconds(gap.from)} s`);
    assert.ok(Math.abs(seconds(gap.to) - (end - since) / 1e6) < slack, `ends at ${seconds(gap.to)} s`);
    await page.keyboard.press("]");
    await page.locator("[role=status]", { hasText: /not watched for [34](\.\d)? s/ }).waitFor();
  });
});

test("keyboard_alone_finds_and_reads_a_record", async () => {
  await visit(browser, hub.url, {}, async (page) => {
    await ready(page);
    const isOnLanes = () => page.evaluate(() => document.activeElement?.classList.contains("surface"));
    for (let stop = 0; stop < 40 && !(await isOnLanes()); stop += 1) await page.keyboard.press("Tab");
    assert.ok(await isOnLanes(), "the tabulator leads to the lanes");
    await page.keyboard.press("ArrowDown");
    const status = page.locator("[role=status]");
    for (let step = 0; step < 60 && !/Finding/.test((await status.textContent()) ?? ""); step += 1) {
      await page.keyboard.press("ArrowLeft");
      await status.filter({ hasText: /./ }).waitFor({ state: "attached" });
    }
    assert.match((await status.textContent()) ?? "", /Finding/);
    await page.keyboard.press("Enter");
    await page.locator(".detail h2:focus").waitFor();
    await page.keyboard.press("Escape");
    await page.locator(".detail").waitFor({ state: "detached" });
    await page.keyboard.press("/");
    await page.keyboard.type("No space left");
    await address(page, ({ searchParams }) => searchParams.get("text") === "No space left");
    await page.keyboard.press("Escape");
    await page.keyboard.press("t");
    await page.getByRole("table").waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
  });
});

test("eight_visible_tabs_of_one_browser_all_follow", async () => {
  const context = await browser.newContext();
  const complaints: string[] = [];
  const pages: Page[] = [];
  const balloon = async (size: string): Promise<void> => {
    const before = (await hub.records("vm=web1&event=BALLOON_CHANGE")).length;
    await hub.act("web1", "x-guest-balloon", `actual=${size}`);
    for (const page of pages) await rows(page, "BALLOON_CHANGE").nth(before).waitFor();
  };
  // A browser has six connections for each host: a stream for each tab would leave none for an answer.
  for (let tab = 0; tab < 8; tab += 1) {
    const page = await context.newPage();
    complaints.push(...listen(page));
    await page.goto(hub.url);
    await ready(page);
    pages.push(page);
  }
  await balloon("536870912");
  // The first tab reads for all; another one continues when it is closed or hidden.
  await pages.shift()?.close();
  await balloon("268435456");
  const [hidden] = pages;
  if (hidden !== undefined) {
    await hide(hidden, true);
    pages.shift();
    await balloon("134217728");
    await hide(hidden, false);
    pages.push(hidden);
    await balloon("67108864");
  }
  await context.close();
  assert.deepEqual(complaints, []);
});

test("port_with_tokens_asks_for_one_and_keeps_it_for_the_tab", async () => {
  const token = "page-page-page-page-page-page-page-page";
  await installed({ token }, async (guarded) => {
    await guarded.machine("web1");
    await guarded.serve();
    await visit(browser, guarded.url, { tolerated: /401/ }, async (page) => {
      await page.getByLabel("Token").fill("x".repeat(40));
      await page.keyboard.press("Enter");
      await page.getByText("The hub does not accept this token.").waitFor();
      await accessible(page, "token");
      await page.getByLabel("Token").fill(token);
      await page.keyboard.press("Enter");
      await ready(page);
      await page.locator(".live.open").waitFor();
      assert.ok(!page.url().includes(token));
      await page.reload();
      await ready(page);
      await accessible(page, "with a token");
    });
  });
});

test("hub_that_restarts_is_followed_again_and_its_gap_is_shown", async () => {
  await installed({}, async (other) => {
    await other.machine("web1");
    await other.serve();
    // The browser itself reports the refused connections.
    await visit(browser, other.url, { tolerated: /ERR_|Failed to load/ }, async (page) => {
      await ready(page);
      await page.locator(".live.open").waitFor();
      await other.stop("SIGTERM");
      await page.locator(".live.connecting").waitFor();
      await accessible(page, "without a hub");
      await other.serve();
      await page.locator(".live.open").waitFor();
      await other.act("web1", "x-guest-watchdog");
      await rows(page, "WATCHDOG").first().waitFor();
      await rows(page, "hub stopped").waitFor();
      await page.keyboard.press("]");
      await page.locator("[role=status]", { hasText: "not watched" }).waitFor();
      await accessible(page, "with a hub again");
    });
  });
});

test("unix_socket_is_reached_through_a_forwarded_port", async (context) => {
  // As `ssh -L 8080:/run/qmp-events/hub.sock` forwards it.
  const forward = createServer((client) => {
    const socket = connect(hub.socket);
    client.pipe(socket).pipe(client);
    for (const end of [client, socket]) end.on("error", () => socket.destroy());
  });
  context.after(() => forward.close());
  await new Promise<void>((resolve) => forward.listen(0, "127.0.0.1", resolve));
  const place = forward.address();
  const port = typeof place === "object" ? place?.port : 0;
  await visit(browser, `http://localhost:${port}/vm/db1`, {}, async (page) => {
    await ready(page);
    await page.locator(".live.open").waitFor();
    await page.getByRole("heading", { name: "io-error" }).waitFor();
  });
});

const DESKTOP = { width: 1_280, height: 900 };
/** The colours of a small screen are those of the large one, and comparing them takes half of the time. */
const COLOURS = ["color-contrast"];

const LOOKS: [name: string, options: BrowserContextOptions, without: string[]][] = [
  ["light", { colorScheme: "light", viewport: DESKTOP }, []],
  ["dark", { colorScheme: "dark", viewport: DESKTOP }, []],
  ["forced_colours", { forcedColors: "active", viewport: DESKTOP }, []],
  ["telephone", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true }, COLOURS],
  // A zoom of 200 % is half as many pixels of the style sheet.
  ["zoom_of_200_percent", { viewport: { width: 640, height: 450 }, deviceScaleFactor: 2 }, COLOURS],
];

for (const [name, options, without] of LOOKS) {
  test(`axe_finds_nothing_with_${name}`, async () => {
    await visit(browser, hub.url, options, async (page) => {
      await ready(page);
      await rows(page, "why-paused").first().click();
      await page.getByRole("heading", { name: "Caused by" }).waitFor();
      await accessible(page, `${name}, all VMs and a record`, without);
      await page.keyboard.press("Escape");
      await page.keyboard.press("t");
      await page.getByRole("table").waitFor();
      await page.keyboard.press("?");
      await page.getByRole("dialog").waitFor();
      await accessible(page, `${name}, the table and the keys`, without);
      await page.goto(`${hub.url}/vm/db1`);
      await ready(page);
      await page.locator(".counts").waitFor();
      await accessible(page, `${name}, a VM`, without);
      await page.goto(`${hub.url}/event/BLOCK_IO_ERROR`);
      await ready(page);
      await page.locator(".counts").waitFor();
      await accessible(page, `${name}, an event`, without);
    });
  });
}

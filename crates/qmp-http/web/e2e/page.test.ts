// The page in a browser, against a hub in memory: `node --test build/e2e/page.test.mjs`.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { accessible, launch, listen, ready, visit } from "./browser.ts";
import { Mock, names } from "./mock.ts";

let browser: Browser;
let hub: Mock;
let url: string;

before(async () => {
  browser = await launch();
  hub = new Mock({ vms: names(10), days: 3 });
  url = await hub.listen(0);
});

after(async () => {
  await browser.close();
  hub.close();
});

const rows = (page: Page, name: string) => page.locator("a.record", { hasText: name });
const view = (page: Page): [since: string | null, until: string | null] => {
  const { searchParams } = new URL(page.url());
  return [searchParams.get("since"), searchParams.get("until")];
};
const length = (page: Page): number => {
  const [since, until] = view(page);
  return Date.parse(until ?? "") - Date.parse(since ?? "");
};
/** Waits for the address: it follows a gesture a moment later. */
const address = (page: Page, holds: (url: URL) => boolean) => page.waitForURL(holds);

test("event_appears_within_a_second", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    await page.locator(".live.open").waitFor();
    hub.event("web1", "GUEST_PANICKED", { action: "pause" });
    await rows(page, "GUEST_PANICKED").waitFor({ timeout: 1_000 });
  });
});

test("zoom_by_key_is_in_the_address_and_back_undoes_it", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    await page.keyboard.press("a");
    await address(page, ({ searchParams }) => searchParams.has("since") && !searchParams.has("live"));
    assert.equal(length(page), 86_400_000);
    // A pause: two keys in a moment are one gesture, and one step back.
    await page.waitForTimeout(800);
    await page.keyboard.press("w");
    await address(page, () => length(page) < 86_400_000);
    await page.goBack();
    await address(page, () => length(page) === 86_400_000);
    await page.goBack();
    await page.locator(".live.open").waitFor();
  });
});

test("drag_over_the_histogram_zooms_and_drag_of_the_lanes_pans", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    const histogram = await box(page, ".histogram");
    await drag(page, [histogram.x + 300, histogram.y + 20], [histogram.x + 500, histogram.y + 20]);
    await address(page, ({ searchParams }) => searchParams.has("since") && length(page) < 20_000_000);
    const before = view(page);
    const lanes = await box(page, ".surface");
    await drag(page, [lanes.x + 200, lanes.y + 60], [lanes.x + 420, lanes.y + 60]);
    await address(page, () => view(page)[0] !== before[0]);
    assert.ok((view(page)[0] ?? "") < (before[0] ?? ""), "a drag to the right goes back in time");
  });
});

test("wheel_with_ctrl_zooms_at_the_pointer", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    const lanes = await box(page, ".surface");
    await page.mouse.move(lanes.x + lanes.width / 4, lanes.y + 60);
    await page.keyboard.down("Control");
    await page.mouse.wheel(0, -300);
    await page.keyboard.up("Control");
    await address(page, ({ searchParams }) => searchParams.has("since") && length(page) < 60_000_000);
  });
});

test("filters_are_in_the_address_and_survive_a_reload", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    await page.getByRole("button", { name: "Lifecycle" }).click();
    await address(page, ({ searchParams }) => searchParams.getAll("severity").join() === "lifecycle");
    await page.getByRole("textbox", { name: /^VM/ }).fill("db*");
    await page.keyboard.press("Enter");
    await address(page, ({ searchParams }) => searchParams.get("vm") === "db*");
    for (const isReloaded of [false, true]) {
      if (isReloaded) await page.reload();
      await ready(page);
      await page.waitForFunction(() => {
        return [...document.querySelectorAll(".lane-name a")].every((name) =>
          name.textContent?.startsWith("db"),
        );
      });
      await rows(page, "STOP").first().waitFor();
      assert.equal(await rows(page, "RESUME").count(), 0);
    }
    await page.getByRole("button", { name: "Clear filters" }).click();
    await rows(page, "RESUME").first().waitFor();
  });
});

test("text_is_found_in_the_records", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    await page.keyboard.press("/");
    await page.keyboard.type("virsh");
    await address(page, ({ searchParams }) => searchParams.get("text") === "virsh");
    await page.waitForFunction(() => {
      const rows = [...document.querySelectorAll("a.record")];
      return rows.length > 0 && rows.every((row) => row.textContent?.includes("why-paused"));
    });
  });
});

test("detail_has_meaning_and_causes_and_its_link_stays", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    await rows(page, "A write to disk").first().click();
    await page.getByRole("heading", { name: "why-paused" }).waitFor();
    await page.getByRole("heading", { name: "Caused by" }).waitFor();
    assert.equal(await page.locator("a.record.cause").count(), 2);
    await page.locator(".related button", { hasText: "BLOCK_IO_ERROR" }).click();
    await page.getByText("A disk reported an error to a request of the guest.").waitFor();
    await page.getByRole("heading", { name: "Led to" }).waitFor();
    await page.getByText("The error in words, for people.").waitFor();
    const link = page.url();
    await page.keyboard.press("Escape");
    await page.locator(".detail").waitFor({ state: "detached" });
    await page.goto(link);
    await page.getByText("A disk reported an error to a request of the guest.").waitFor();
    await page.locator(".detail summary").click();
    await page.locator(".detail pre", { hasText: '"kind": "event"' }).waitFor();
  });
});

test("gap_is_found_by_key_with_its_true_length", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    await page.keyboard.press("]");
    await page.waitForFunction(() =>
      /not watched for 3\d min/.test(document.querySelector("[role=status]")?.textContent ?? ""),
    );
  });
});

test("keyboard_alone_reads_a_record", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    await page.locator(".surface").focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowLeft");
    const status = page.locator("[role=status]");
    await page.waitForFunction(() => (document.querySelector("[role=status]")?.textContent ?? "") !== "");
    for (let step = 0; step < 30 && !/Finding/.test((await status.textContent()) ?? ""); step += 1) {
      await page.keyboard.press("ArrowLeft");
    }
    assert.match((await status.textContent()) ?? "", /Finding why-/);
    await page.keyboard.press("Enter");
    await page.locator(".detail h2:focus").waitFor();
    await page.keyboard.press("Escape");
    await page.locator(".detail").waitFor({ state: "detached" });
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.keyboard.press("t");
    await page.getByRole("table").waitFor();
  });
});

test("list_stands_still_while_it_is_read", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    await page.locator(".live.open").waitFor();
    await page.locator("a.record").nth(3).hover();
    hub.event("db1", "MEMORY_FAILURE");
    await page.getByRole("button", { name: "+1 new" }).waitFor();
    assert.equal(await rows(page, "MEMORY_FAILURE").count(), 0);
    await page.getByRole("button", { name: "+1 new" }).click();
    await rows(page, "MEMORY_FAILURE").waitFor();
  });
});

test("hidden_tab_has_no_stream_and_continues_where_it_was", async () => {
  await visit(browser, url, {}, async (page) => {
    await ready(page);
    await page.locator(".live.open").waitFor();
    assert.equal(hub.streamCount, 1);
    await hide(page, true);
    await until(() => hub.streamCount === 0);
    hub.event("db1", "QUORUM_FAILURE");
    await hide(page, false);
    await rows(page, "QUORUM_FAILURE").waitFor();
  });
});

test("eight_tabs_of_one_browser_all_work", async () => {
  const context = await browser.newContext();
  const complaints: string[] = [];
  // A browser has six connections for each host: seven streams would leave none for an answer.
  for (let tab = 0; tab < 8; tab += 1) {
    const page = await context.newPage();
    complaints.push(...listen(page));
    await page.goto(url);
    await ready(page);
    await hide(page, true);
  }
  await context.close();
  assert.deepEqual(complaints, []);
});

test("hub_that_restarts_is_followed_again", async () => {
  let other = new Mock({ vms: names(3), days: 1 });
  const place = await other.listen(0);
  const tolerated = /ERR_|Failed to load/;
  await visit(browser, place, { tolerated }, async (page) => {
    await ready(page);
    await page.locator(".live.open").waitFor();
    const { records } = other;
    other.close();
    await page.locator(".live.connecting").waitFor();
    other = new Mock({ vms: [], days: 1, records });
    await other.listen(Number(new URL(place).port));
    await page.locator(".live.open").waitFor();
    other.event("web1", "GUEST_PANICKED");
    await rows(page, "GUEST_PANICKED").waitFor();
  });
  other.close();
});

test("token_is_asked_for_and_kept_for_the_tab", async () => {
  const guarded = new Mock({ vms: names(3), days: 1, token: "good" });
  const place = await guarded.listen(0);
  await visit(browser, place, { tolerated: /401/ }, async (page) => {
    await page.getByLabel("Token").fill("bad");
    await page.keyboard.press("Enter");
    await page.getByText("The hub does not accept this token.").waitFor();
    await accessible(page, "token");
    await page.getByLabel("Token").fill("good");
    await page.keyboard.press("Enter");
    await ready(page);
    assert.ok(!page.url().includes("good"));
    await page.reload();
    await ready(page);
  });
  guarded.close();
});

test("hostile_names_stay_text", async () => {
  const hostile = [
    "<script>alert(1)</script>",
    "\u001b[31mred",
    "x".repeat(10_000),
    "\u202egnp.exe",
    "a\u200bb",
  ];
  const other = new Mock({ vms: hostile, days: 1 });
  const place = await other.listen(0);
  await visit(browser, place, {}, async (page) => {
    await ready(page);
    for (const text of ["<script>alert(1)</script>", "␛[31mred", "⟨U+202E⟩gnp.exe", "a⟨U+200B⟩b"]) {
      await page.locator(".lane-name a", { hasText: text }).waitFor();
    }
    assert.equal(await page.locator("script").count(), 1);
    await page.locator(".lane-name a", { hasText: "alert" }).click();
    await page.getByRole("heading", { name: "<script>alert(1)</script>" }).waitFor();
    await ready(page);
    await accessible(page, "hostile names");
  });
  other.close();
});

test("thousand_lanes_are_reached_by_scrolling", async () => {
  const other = new Mock({ vms: names(1_000), days: 1 });
  const place = await other.listen(0);
  await visit(browser, `${place}/?sort=name`, {}, async (page) => {
    await ready(page);
    await page.locator(".overview canvas").waitFor();
    await page.locator(".lanes").evaluate((lanes) => lanes.scrollTo({ top: lanes.scrollHeight }));
    await page.locator(".lane-name a", { hasText: "web125" }).waitFor();
    const height = await page
      .locator(".lane-name")
      .first()
      .evaluate((row) => row.clientHeight);
    assert.ok(height >= 20, `rows of ${height} pixels`);
  });
  other.close();
});

const DESKTOP = { width: 1_280, height: 900 };
const LOOKS = [
  ["light", { colorScheme: "light", viewport: DESKTOP }],
  ["dark", { colorScheme: "dark", viewport: DESKTOP }],
  ["forced colours", { forcedColors: "active", viewport: DESKTOP }],
  ["telephone", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true }],
  // A zoom of 200 % is half as many pixels of the style sheet.
  ["200 %", { viewport: { width: 640, height: 450 }, deviceScaleFactor: 2 }],
] as const;

for (const [name, options] of LOOKS) {
  test(`axe_finds_nothing_with_${name.replace(/\W+/g, "_")}`, async () => {
    // axe looks at each element against all others: a few records show as much as hundreds.
    const small = new Mock({ vms: names(3), days: 1 });
    const place = await small.listen(0);
    small.event("db1", "BLOCK_IO_ERROR", {
      operation: "read",
      action: "report",
      reason: "Input/output error",
    });
    await visit(browser, place, options, async (page) => {
      await ready(page);
      await accessible(page, `${name}, all VMs`);
      await page.locator("a.record.finding").first().click();
      await page.getByRole("heading", { name: "Caused by" }).waitFor();
      await accessible(page, `${name}, a record`);
      await page.keyboard.press("Escape");
      await page.keyboard.press("t");
      await page.getByRole("table").waitFor();
      await page.keyboard.press("?");
      await page.getByRole("dialog").waitFor();
      await accessible(page, `${name}, the table and the keys`);
      await page.goto(`${place}/vm/db1`);
      await ready(page);
      await page.locator(".counts").waitFor();
      await accessible(page, `${name}, a VM`);
      await page.goto(`${place}/event/BLOCK_IO_ERROR`);
      await ready(page);
      await page.locator(".counts").waitFor();
      await accessible(page, `${name}, an event`);
    });
    small.close();
  });
}

async function box(page: Page, selector: string) {
  const found = await page.locator(selector).boundingBox();
  assert.ok(found !== null, selector);
  return found;
}

async function drag(page: Page, from: [number, number], to: [number, number]): Promise<void> {
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move((from[0] + to[0]) / 2, to[1]);
  await page.mouse.move(...to);
  await page.mouse.up();
}

/** A browser without a window shows all tabs, so that hiding is played. */
async function hide(page: Page, isHidden: boolean): Promise<void> {
  await page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
}

async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 15_000;
  while (!holds()) {
    assert.ok(Date.now() < end, "in time");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

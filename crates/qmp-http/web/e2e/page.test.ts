// What needs other records than a hub with a few machines has at once: days, a thousand VMs, hostile names, and the number of
// streams. The hub is records in memory: `node --test build/e2e/page.test.mjs`. The rest is in e2e-hub.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { HubRecord } from "../src/api.ts";
import { accessible, address, hide, launch, length, ready, rows, visit } from "./browser.ts";
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

const view = (page: Page): [since: string | null, until: string | null] => {
  const { searchParams } = new URL(page.url());
  return [searchParams.get("since"), searchParams.get("until")];
};

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
    await until(() => hub.streamCount === 1);
    await hide(page, true);
    await until(() => hub.streamCount === 0);
    hub.event("db1", "QUORUM_FAILURE");
    await hide(page, false);
    await rows(page, "QUORUM_FAILURE").waitFor();
  });
});

test("hostile_names_stay_text", async (context) => {
  const hostile = [
    "<script>alert(1)</script>",
    "\u001b[31mred",
    "x".repeat(10_000),
    "\u202egnp.exe",
    "a\u200bb",
  ];
  const other = new Mock({ vms: hostile, days: 1 });
  // Also after a failure: a server that listens would keep the process alive.
  context.after(() => other.close());
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
});

test("thousand_lanes_are_reached_by_scrolling", async (context) => {
  const other = new Mock({ vms: names(1_000), days: 1 });
  context.after(() => other.close());
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
});

/** Waits until the list shows the row of the record, and no other one, as the chosen one. */
async function opensAt(page: Page, record: HubRecord): Promise<void> {
  const row = page.locator('a.record[aria-current="true"]');
  await row.waitFor();
  assert.equal(await row.locator("time").getAttribute("datetime"), record.received);
  await page.waitForFunction(() => {
    const [list, row] = [".records-scroll", ".record.selected"].map((selector) =>
      document.querySelector(selector)?.getBoundingClientRect(),
    );
    return list !== undefined && row !== undefined && row.top >= list.top && row.bottom <= list.bottom;
  });
  assert.equal(await page.locator("a.record[aria-current]").count(), 1);
  assert.equal(await row.getAttribute("tabindex"), "0");
}

const linkTo = ({ vm, epoch, seq }: HubRecord): string =>
  `record=${encodeURIComponent(`${vm}/${epoch}/${seq}`)}`;

test("link_to_record_marks_it_in_the_list_and_scrolls_there", async (context) => {
  const other = new Mock({ vms: names(200), days: 1 });
  context.after(() => other.close());
  const place = await other.listen(0);
  const day = other.records.filter(({ received }) => Date.parse(received) > Date.now() - 23 * 3_600_000);
  assert.ok(day.length > 1_000, "more records than the list reads at once");
  for (const record of [day.at(-100), day.at(-900)]) {
    assert.ok(record !== undefined);
    await visit(browser, `${place}/?${linkTo(record)}`, {}, async (page) => {
      await opensAt(page, record);
      const offset = await page.locator(".records-scroll").evaluate((list) => list.scrollTop);
      // The list stands still after that.
      await page.locator(".records-scroll").evaluate((list) => list.scrollTo({ top: 0 }));
      other.event("db1", "MEMORY_FAILURE");
      await page.getByRole("button", { name: /^\+\d+ new$/ }).waitFor();
      assert.equal(await page.locator(".records-scroll").evaluate((list) => list.scrollTop), 0);
      assert.ok(offset > 0);
    });
  }
});

test("link_to_record_before_the_live_view_moves_the_view_there", async () => {
  const record = hub.records.find(({ kind }) => kind === "event");
  assert.ok(record !== undefined && Date.parse(record.received) < Date.now() - 2 * 86_400_000);
  await visit(browser, `${url}/?${linkTo(record)}`, {}, async (page) => {
    await opensAt(page, record);
    await accessible(page, "a record by its link");
    await address(page, ({ searchParams }) => searchParams.has("since") && !searchParams.has("live"));
  });
  const { received } = hub.records.at(-1) ?? record;
  const fixed = `since=${new Date(Date.parse(received) - 3_600_000).toISOString()}&until=${received}`;
  await visit(browser, `${url}/?${fixed}&${linkTo(record)}`, {}, async (page) => {
    await page.locator(".detail h2").waitFor();
    assert.deepEqual(view(page), new URLSearchParams(fixed).getAll("since").concat(received));
    assert.equal(await page.locator("a.record[aria-current]").count(), 0, "a chosen time stays");
  });
});

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

async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!holds()) {
    assert.ok(Date.now() < end, "in time");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

// Every event of the documents of 2010 and 2016 on the page, as a QEMU sent it: captures are replayed into a hub.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, ready, visit } from "../e2e/browser.ts";
import type { EventDescription } from "../src/api.ts";
import { Installation } from "./hub.ts";

const ROOT = "../../..";
const CAPTURES = join(ROOT, "crates/qmp-real-qemu/captures/qemu-7.2");
const EVENTS = 35;

let browser: Browser;
let hub: Installation;

before(async () => {
  browser = await launch();
  hub = new Installation();
  const captures = chosenCaptures();
  for (const capture of captures) {
    const file = join(CAPTURES, capture);
    await hub.machine(capture.replace(/\.qmp$/, ""), ["replay", file, "--speed", "0", "--stay"]);
  }
  await hub.serve();
  for (const event of documented()) await hub.recorded(`event=${event}`);
});

after(async () => {
  await browser.close();
  await hub.close();
});

test("each_event_of_the_two_documents_is_shown_and_explained", async () => {
  const catalogue = (await hub.get("/v1/catalogue")) as EventDescription[];
  await visit(browser, hub.url, {}, async (page) => {
    for (const name of documented()) {
      const description = catalogue.find((event) => event.name === name);
      assert.ok(description !== undefined, name);
      await page.goto(`${hub.url}/event/${name}`);
      await ready(page);
      await explained(page, description);
    }
  });
});

/** The page of the event has its meaning and its members, and a record of it the meaning of each value. */
async function explained(page: Page, { name, summary, members }: EventDescription): Promise<void> {
  await page.locator(".description .lead", { hasText: summary }).waitFor();
  assert.equal(await page.locator(".members-table tbody tr").count(), members.length, name);
  await page.locator("a.record.event").first().click();
  const detail = page.locator(".detail");
  await detail.locator("h2", { hasText: name }).waitFor();
  assert.equal(await detail.locator(".meaning").textContent(), summary, name);
  const values = await detail.locator(".members dd").evaluateAll((found) => {
    return found.map((value) => [
      value.querySelector(".value")?.textContent,
      value.querySelector(".soft")?.textContent,
    ]);
  });
  for (const [value, meaning] of values) assert.ok(value && meaning, `${name}: ${value}: ${meaning}`);
  if (members.some(({ optional }) => !optional)) assert.ok(values.length > 0, name);
}

/** The names in the table that compares both documents with QEMU. */
function documented(): string[] {
  const text = readFileSync(join(ROOT, "docs/documents.md"), "utf8");
  const table = /### The 35 events at a glance\n(.*?)\n###/s.exec(text)?.[1] ?? "";
  const names = [...table.matchAll(/^\| ([A-Z_]+) \|/gm)].map(([, name]) => name ?? "");
  assert.equal(names.length, EVENTS);
  return names;
}

/** A few captures that together have all of the events. */
function chosenCaptures(): string[] {
  const wanted = new Set(documented());
  const captures = readdirSync(CAPTURES).filter((name) => name.endsWith(".qmp"));
  const events = new Map(
    captures.map((name) => {
      const text = readFileSync(join(CAPTURES, name), "utf8");
      return [name, new Set([...text.matchAll(/"event": "([A-Z_]+)"/g)].map(([, event]) => event ?? ""))];
    }),
  );
  const chosen: string[] = [];
  while (wanted.size > 0) {
    const gain = (name: string): number => [...wanted].filter((event) => events.get(name)?.has(event)).length;
    const best = captures.reduce((a, b) => (gain(b) > gain(a) ? b : a));
    assert.ok(gain(best) > 0, `no capture has ${[...wanted].join(", ")}`);
    chosen.push(best);
    for (const event of events.get(best) ?? []) wanted.delete(event);
  }
  return chosen;
}

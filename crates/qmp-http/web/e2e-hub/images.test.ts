// The pictures of the documentation, from the demonstration. With QMP_UPDATE_IMAGES=1 they are written to docs/images, after
// some minutes; else to a temporary directory, to see that they can be made.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { launch, ready, rows, visit } from "../e2e/browser.ts";
import { Installation, program } from "./hub.ts";
import { documentOf, screenOf } from "./terminal.ts";

const IS_UPDATE = process.env.QMP_UPDATE_IMAGES === "1";
/** How long the hub watches before it is killed, is away, and watches again. */
const [WATCHED_MS, AWAY_MS] = IS_UPDATE ? [100_000, 15_000] : [2_000, 500];

/** The record on the picture with cause and effect. A VM flaps after some minutes only. */
const FINDING = IS_UPDATE ? "flapping" : "why-paused";
const MACHINES = 8;

const DESKTOP = { width: 1_280, height: 860 };
const TALL = { width: 1_280, height: 1_120 };
const TELEPHONE = { width: 390, height: 844 };

let browser: Browser;
let hub: Installation;
let directory: string;

before(async () => {
  directory = IS_UPDATE ? "../../../docs/images" : mkdtempSync(join(tmpdir(), "qmp-images-"));
  browser = await launch();
  hub = new Installation();
  const demonstration = [`--demo=${MACHINES}`, "--journal", hub.journal];
  await hub.serve([], demonstration);
  await passed(WATCHED_MS);
  await hub.stop("SIGKILL");
  await passed(AWAY_MS);
  await hub.serve([], demonstration);
  await passed(WATCHED_MS);
  await hub.recorded(`vm=db1&where=finding=${FINDING}`);
});

after(async () => {
  await browser.close();
  await hub.close();
  if (!IS_UPDATE) rmSync(directory, { recursive: true });
});

test("page_light", () => picture("page-light", "/", { viewport: DESKTOP }, live));

test("page_dark_with_cause_and_effect", () => {
  const chosen = `/?vm=db1&finding=${FINDING}`;
  return picture("page-dark", chosen, { viewport: TALL, colorScheme: "dark" }, async (page) => {
    await live(page);
    await rows(page, FINDING).first().click();
    await page.getByRole("heading", { name: "Caused by" }).waitFor();
    await page.getByRole("button", { name: "Clear filters" }).click();
    await page
      .locator(".lane-name")
      .nth(MACHINES - 1)
      .waitFor();
    await page.mouse.move(0, 0);
    await page.evaluate(() => window.scrollTo(0, 0));
  });
});

test("page_of_a_vm", () => {
  return picture("page-vm", "/vm/db1", { viewport: DESKTOP }, async (page) => {
    await live(page);
    await page.locator(".counts").waitFor();
  });
});

test("page_on_a_telephone", () => {
  return picture("page-telephone", "/", { viewport: TELEPHONE, deviceScaleFactor: 2, hasTouch: true }, live);
});

test("terminal", async () => {
  const command = [program(), "top", "--hub", `unix:${hub.socket}`];
  // The past comes after the states, and the records after the past.
  const past = IS_UPDATE ? "██" : "█";
  const holds = (text: string): boolean => [past, "RESET", "backup1"].every((part) => text.includes(part));
  const screen = await screenOf(join(hub.directory, "tmux"), command, [120, 40], holds);
  const context = await browser.newContext({ deviceScaleFactor: 1.5 });
  const page = await context.newPage();
  await page.setContent(documentOf(screen));
  await page.locator("pre").screenshot({ path: path("terminal") });
  await context.close();
  assert.ok(statSync(path("terminal")).size > 10_000);
});

async function picture(
  name: string,
  address: string,
  options: BrowserContextOptions,
  steps: (page: Page) => Promise<void>,
): Promise<void> {
  await visit(browser, hub.url + address, options, async (page) => {
    await ready(page);
    await steps(page);
    await page.locator(".progress:not(.busy)").waitFor({ state: "attached" });
    await page.screenshot({ path: path(name), animations: "disabled" });
  });
  assert.ok(statSync(path(name)).size > 10_000, name);
}

async function live(page: Page): Promise<void> {
  await page.locator(".live.open").waitFor();
}

function path(name: string): string {
  return join(directory, `${name}.png`);
}

/** Lets the machines live: time is what these pictures show. */
function passed(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

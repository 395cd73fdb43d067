// Debian's Chromium, and pages whose console must stay empty.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const CHROMIUM = process.env.QMP_CHROMIUM ?? "/usr/bin/chromium";

export function launch(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) throw new Error(`no browser at ${CHROMIUM}`);
  // A sandbox of its own is what root in a container does not get.
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

export interface Visit {
  page: Page;
  /** What the console said, errors of the page, violations of its policy. */
  complaints: string[];
}

/** Opens `path` and runs `steps`; afterwards nothing may have been complained about. */
export async function visit(
  browser: Browser,
  url: string,
  options: BrowserContextOptions & { tolerated?: RegExp },
  steps: (page: Page) => Promise<void>,
): Promise<void> {
  const { tolerated, ...contextOptions } = options;
  const context = await browser.newContext({
    viewport: { width: 1_280, height: 900 },
    timezoneId: "UTC",
    ...contextOptions,
  });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const complaints = listen(page);
  try {
    await page.goto(url);
    await steps(page);
  } finally {
    await context.close();
  }
  assert.deepEqual(
    complaints.filter((complaint) => tolerated?.test(complaint) !== true),
    [],
  );
}

export function listen(page: Page): string[] {
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`error: ${error.stack ?? error.message}`));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  return complaints;
}

/** The lanes are drawn from an answer of the hub, and the stream is open. */
export async function ready(page: Page): Promise<void> {
  await page.locator(".lane-name").first().waitFor();
  await page.locator("a.record").first().waitFor();
}

/** The row of the list with the text. */
export const rows = (page: Page, text: string) => page.locator("a.record", { hasText: text });

/** Waits for the address: it follows a gesture a moment later. */
export const address = (page: Page, holds: (url: URL) => boolean) => page.waitForURL(holds);

/** The length of the view in the address, in milliseconds; NaN if the address has none. */
export function length(page: Page): number {
  const { searchParams } = new URL(page.url());
  return Date.parse(searchParams.get("until") ?? "") - Date.parse(searchParams.get("since") ?? "");
}

/** A browser without a window shows all tabs, so that hiding is played. */
export async function hide(page: Page, isHidden: boolean): Promise<void> {
  await page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
}

/** Nothing that axe knows is wrong, and the page is not wider than the screen. */
export async function accessible(page: Page, where: string, without: readonly string[] = []): Promise<void> {
  // Without this mode the builder opens one more page for the results of frames, of which there are none.
  const builder = new AxeBuilder({ page }).setLegacyMode(true).disableRules([...without]);
  const { violations } = await builder.analyze();
  const texts = violations.map(({ id, help, nodes }) => {
    return `${id}: ${help}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`;
  });
  assert.deepEqual(texts, [], where);
  const tooWide = await page.evaluate(() => {
    return document.documentElement.scrollWidth - document.documentElement.clientWidth;
  });
  assert.ok(tooWide <= 0, `${where}: ${tooWide} pixels beyond the screen`);
}

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
  context.setDefaultTimeout(15_000);
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

/** Nothing that axe knows is wrong, and the page is not wider than the screen. */
export async function accessible(page: Page, where: string): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const texts = violations.map(({ id, help, nodes }) => {
    return `${id}: ${help}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`;
  });
  assert.deepEqual(texts, [], where);
  const tooWide = await page.evaluate(() => {
    return document.documentElement.scrollWidth - document.documentElement.clientWidth;
  });
  assert.ok(tooWide <= 0, `${where}: ${tooWide} pixels beyond the screen`);
}

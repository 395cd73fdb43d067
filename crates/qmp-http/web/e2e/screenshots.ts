// Pictures of the page for the documentation: `node build/e2e/screenshots.mjs DIRECTORY`.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { launch, ready, visit } from "./browser.ts";
import { Mock } from "./mock.ts";

const directory = process.argv[2] ?? "build/images";
mkdirSync(directory, { recursive: true });

const vms = ["web1", "web2", "db1", "db2", "build1", "mail1", "cache1", "queue1"];
const hub = new Mock({ vms, days: 3 });
const url = await hub.listen(0);
const browser = await launch();
const wide = { width: 1_280, height: 860 };

await visit(browser, url, { viewport: wide, colorScheme: "light" }, async (page) => {
  await ready(page);
  await page.locator(".live.open").waitFor();
  await page.screenshot({ path: join(directory, "page-light.png") });
});

await visit(browser, url, { viewport: wide, colorScheme: "dark" }, async (page) => {
  await ready(page);
  // A storm lies between its first event and the finding, so that cause and effect are apart.
  await page.locator("#search").fill("91 times");
  await page.locator("a.record", { hasText: "storm" }).first().click();
  await page.getByRole("heading", { name: "Caused by" }).waitFor();
  await page.getByRole("button", { name: "Clear filters" }).click();
  await page.locator("body").press("f");
  await page.waitForTimeout(1_500);
  await page.screenshot({ path: join(directory, "page-dark.png") });
});

await visit(browser, `${url}/vm/db1`, { viewport: wide, colorScheme: "light" }, async (page) => {
  await ready(page);
  await page.locator(".counts").waitFor();
  await page.screenshot({ path: join(directory, "page-vm.png") });
});

const telephone = { width: 390, height: 844 };
await visit(browser, url, { viewport: telephone, deviceScaleFactor: 2, hasTouch: true }, async (page) => {
  await ready(page);
  await page.screenshot({ path: join(directory, "page-telephone.png") });
});

await browser.close();
hub.close();

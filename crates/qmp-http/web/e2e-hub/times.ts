// Measures the page with a hub on a large journal: how long the first picture takes, and each zoom to its painted frame.
//
//   cargo bench -p qmp-history --bench timeline -- 10000000 /var/tmp/journal.db     writes the journal
//   QMP_PROGRAM=target/release/qmp npm run times -- /var/tmp/journal.db
//
// The hub gets a copy of the journal, because it writes to it. A picture is complete when the lanes have been painted after the
// last answer of the hub that they need, and the browser has shown that frame. A zoom shows the old lanes at the new scale at
// once, and is complete with the lanes of the new span.

import { constants, copyFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { launch } from "../e2e/browser.ts";
import { installed } from "./hub.ts";

const ROUNDS = 5;
const VIEWPORT = { width: 1_280, height: 900 };
/** The year of the journal that the benchmark writes. */
const YEAR = { since: "2026-01-02T00:00:00Z", until: "2027-01-02T00:00:00Z" };

interface Times {
  /** When the last answer with these lanes was read, and when lanes were painted last, in milliseconds of the page. */
  answered: number;
  painted: number;
}

/** Runs in the page before its own script: notes answers with lanes, and paintings of them. */
function watch(): void {
  const times: Times = { answered: 0, painted: 0 };
  Object.assign(window, { times });
  const { json } = Response.prototype;
  Response.prototype.json = async function () {
    const value = await json.call(this);
    if (this.url.includes("/v1/timeline") && !this.url.includes("lanes=1000"))
      times.answered = performance.now();
    return value;
  };
  const { clearRect } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.clearRect = function (...box) {
    if (this.canvas.closest(".lanes") !== null) times.painted = performance.now();
    clearRect.apply(this, box);
  };
}

/** The time from `from` until the frame is shown with lanes of an answer that arrived later. */
function shown(page: Page, from: number): Promise<number> {
  return page.evaluate(async (start) => {
    const { times } = window as unknown as { times: Times };
    const frame = () => new Promise(requestAnimationFrame);
    while (times.answered <= start || times.painted < times.answered) await frame();
    // The frame that is being made, and the begin of the next: the first is on the screen.
    await frame();
    await frame();
    return performance.now() - start;
  }, from);
}

async function zoomed(page: Page, key: string): Promise<number> {
  const start = await page.evaluate(() => performance.now());
  await page.keyboard.press(key);
  return shown(page, start);
}

function report(what: string, times: number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const [median, worst] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  console.log(`  ${what.padEnd(40)} median ${median?.toFixed(0)} ms, worst ${worst?.toFixed(0)} ms`);
}

const source = process.argv[2];
if (source === undefined) throw new Error("usage: npm run times -- JOURNAL");
const browser = await launch();
try {
  // A hub that has never seen these records would first read all of them for findings.
  await installed({ findings: false }, async (hub) => {
    copyFileSync(source, hub.journal, constants.COPYFILE_FICLONE);
    await hub.machine("web1");
    await hub.serve();
    const first: number[] = [];
    const zooms = new Map<string, number[]>();
    for (let round = 0; round < ROUNDS; round += 1) {
      const context = await browser.newContext({ viewport: VIEWPORT });
      const page = await context.newPage();
      await page.addInitScript(watch);
      await page.goto(`${hub.url}/?since=${YEAR.since}&until=${YEAR.until}`);
      first.push(await shown(page, 0));
      // The overview of all lanes is read after the lanes; a reader does not zoom before that.
      await page.locator(".overview canvas").waitFor();
      for (const [key, what] of [
        ["Equal", "in"],
        ["Minus", "out"],
      ] as const) {
        for (let step = 1; step <= 8; step += 1) {
          const name = `zoom ${what}, step ${step}`;
          zooms.set(name, [...(zooms.get(name) ?? []), await zoomed(page, key)]);
        }
      }
      await context.close();
    }
    console.log(`${ROUNDS} rounds, ${VIEWPORT.width} × ${VIEWPORT.height} pixels`);
    report("first picture of a year", first);
    for (const [name, times] of zooms) report(name, times);
    report("all zooms", [...zooms.values()].flat());
  });
} finally {
  await browser.close();
}

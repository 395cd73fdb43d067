// The axis, as text: it can be read, selected and enlarged.

import { clock, date, ticks } from "../time.ts";
import { span } from "../view.ts";
import { type Scale, x } from "./geometry.ts";

/** Pixels that a label needs. */
const LABEL_PIXELS = 92;

export function Axis({ scale }: { scale: Scale }) {
  const marks = ticks(scale.view.since, scale.view.until, scale.width / LABEL_PIXELS);
  const first = `${date(scale.view.since)}${span(scale.view) < 40 * 86_400e6 ? ` ${clock(scale.view.since)}` : ""}`;
  return (
    <div
      class="axis"
      role="img"
      aria-label={`Time axis from ${first} to ${date(scale.view.until)} ${clock(scale.view.until)}`}
    >
      {marks.map((tick) => {
        const left = x(scale, tick.at);
        // A label that would be cut by the edge is left out; its line stays.
        const isCut = left < 24 || left > scale.width - 30;
        return (
          <span key={tick.at} class={tick.major ? "tick major" : "tick"} style={{ left: `${left}px` }}>
            {isCut ? "" : tick.text}
          </span>
        );
      })}
    </div>
  );
}

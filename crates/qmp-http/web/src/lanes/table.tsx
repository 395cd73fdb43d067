// The lanes in numbers: the same window for those who cannot see the picture, or want to read values.

import { useState } from "preact/hooks";
import type { Micros, Timeline } from "../api.ts";
import { Link } from "../parts/link.tsx";
import { SEVERITIES, SEVERITY_TEXTS } from "../severity.ts";
import { count, line } from "../text.ts";
import { dateAndClock, duration } from "../time.ts";
import type { View } from "../view.ts";
import { summarize } from "./items.ts";

const PAGE_ROWS = 25;

interface LaneTableProps {
  timeline: Timeline;
  /** Index of the timeline's first lane among all. */
  first: number;
  view: View;
  now: Micros;
  /** Reads the lanes from this one on. */
  go(lane: number): void;
}

export function LaneTable({ timeline, first, view, now, go }: LaneTableProps) {
  const [begin, setBegin] = useState(0);
  const rows = timeline.lanes.slice(Math.max(0, begin - first), Math.max(0, begin - first) + PAGE_ROWS);
  const total = timeline.lanes_total;
  const turn = (to: number): void => {
    setBegin(to);
    go(to);
  };
  const end = Math.min(total, begin + PAGE_ROWS);
  return (
    <div class="lane-table">
      <table>
        <caption>
          From {dateAndClock(view.since)} to {dateAndClock(view.until)}
        </caption>
        <thead>
          <tr>
            <th scope="col">VM</th>
            <th scope="col">State at the end</th>
            {SEVERITIES.map((severity) => (
              <th scope="col" key={severity} class="number">
                {SEVERITY_TEXTS[severity]}
              </th>
            ))}
            <th scope="col" class="number">
              Findings
            </th>
            <th scope="col" class="number">
              Not watched
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((lane) => {
            const row = summarize(timeline, lane, view, now);
            return (
              <tr key={lane.vm}>
                <th scope="row">
                  <Link place={{ page: "vm", name: lane.vm }}>
                    <bdi>{line(lane.vm, 48)}</bdi>
                  </Link>
                </th>
                <td>{row.state}</td>
                {SEVERITIES.map((severity) => (
                  <td key={severity} class="number">
                    {count(row.counts[severity])}
                  </td>
                ))}
                <td class="number">{count(row.findings)}</td>
                <td class="number">{row.gaps === 0 ? "–" : `${duration(row.notWatched)} (${row.gaps}×)`}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {total > PAGE_ROWS && (
        <p class="pager">
          <button type="button" disabled={begin === 0} onClick={() => turn(Math.max(0, begin - PAGE_ROWS))}>
            Previous {PAGE_ROWS}
          </button>
          <span>
            {begin + 1}–{end} of {count(total)}
          </span>
          <button type="button" disabled={end >= total} onClick={() => turn(begin + PAGE_ROWS)}>
            Next {PAGE_ROWS}
          </button>
        </p>
      )}
    </div>
  );
}

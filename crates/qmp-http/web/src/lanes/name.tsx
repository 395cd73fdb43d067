// The name of a lane, beside it or above it.

import type { Lane, Timeline } from "../api.ts";
import { Link } from "../parts/link.tsx";
import { stateLook, stateText } from "../states.ts";
import { line } from "../text.ts";

interface LaneNameProps {
  name: string;
  timeline: Timeline | null;
  lane: Lane | undefined;
  top: number;
  height: number;
  width: number;
}

export function LaneName({ name, timeline, lane, top, height, width }: LaneNameProps) {
  const last = lane?.states.at(-1);
  const gap = lane?.gaps.at(-1);
  const isWatched = gap === undefined || gap[1] !== null;
  const state = last === undefined ? null : (timeline?.states[last[2]] ?? null);
  const look = isWatched ? stateLook(state) : "gap";
  const text = isWatched ? stateText(state) : "not watched";
  const isBeside = width > 0;
  return (
    <div
      class={isBeside ? "lane-name beside" : "lane-name above"}
      style={{
        top: `${top}px`,
        height: `${isBeside ? height : 20}px`,
        width: isBeside ? `${width - 10}px` : "",
      }}
    >
      <span class={`dot ${look}`} aria-hidden="true" />
      <Link place={{ page: "vm", name }}>
        <bdi>{line(name, 48)}</bdi>
      </Link>
      <span class="state">{text}</span>
    </div>
  );
}

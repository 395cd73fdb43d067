// A program on a terminal as a picture: tmux has the screen, and its colours become a page.

import { execFileSync } from "node:child_process";
import { poll } from "./hub.ts";

/** The sixteen colours of a terminal, on a dark ground. */
const COLOURS = [
  ..."#1b1f24 #ff7b72 #3fb950 #d29922 #58a6ff #bc8cff #39c5cf #c9d1d9".split(" "),
  ..."#8b949e #ffa198 #56d364 #e3b341 #79c0ff #d2a8ff #56d4dd #ffffff".split(" "),
];
const [INK, GROUND] = ["#e6edf3", "#0d1117"];

/**
 * Runs the command on a terminal of `columns` × `rows` until the screen holds, and returns it with its colours. `socket` is
 * that of the tmux that is started for it.
 */
export async function screenOf(
  socket: string,
  command: readonly string[],
  [columns, rows]: [number, number],
  holds: (text: string) => boolean,
): Promise<string> {
  const tmux = (...rest: string[]): string => {
    const environment = { ...process.env, TERM: "xterm-256color", LC_ALL: "C.UTF-8" };
    return execFileSync("tmux", ["-S", socket, "-f", "/dev/null", ...rest], {
      encoding: "utf8",
      env: environment,
    });
  };
  tmux("new-session", "-d", "-x", String(columns), "-y", String(rows), ...command);
  try {
    await poll("the screen", () => holds(tmux("capture-pane", "-p")));
    return tmux("capture-pane", "-p", "-e");
  } finally {
    tmux("kill-server");
  }
}

interface Style {
  ink: string | null;
  ground: string | null;
  bold: boolean;
  dim: boolean;
  reversed: boolean;
}

const PLAIN: Style = { ink: null, ground: null, bold: false, dim: false, reversed: false };

/** The screen as a document. */
export function documentOf(screen: string): string {
  let style = PLAIN;
  const spans: string[] = [];
  // The text between two escape sequences begins with the end of the first: `1;31mtext`.
  for (const [index, part] of screen.trimEnd().split("\u001b[").entries()) {
    const [, codes, text] = /^(?:([\d;]*)m)?(.*)$/s.exec(index === 0 ? `m${part}` : part) ?? [];
    if (codes !== undefined) style = restyled(style, codes.split(";").map(Number));
    spans.push(`<span style="${css(style)}">${escaped(text ?? "")}</span>`);
  }
  return (
    `<!doctype html><meta charset="utf-8"><body style="margin:0;background:${GROUND}"><pre style="display:inline-block;` +
    `margin:0;padding:14px 18px;color:${INK};font:14px/1.3 'DejaVu Sans Mono',monospace">${spans.join("")}</pre>`
  );
}

/** The style after the codes of one escape sequence. */
function restyled(before: Style, codes: number[]): Style {
  let style = before;
  while (codes.length > 0) {
    const code = codes.shift() ?? 0;
    if (code === 0) style = PLAIN;
    else if (code === 1) style = { ...style, bold: true };
    else if (code === 2) style = { ...style, dim: true };
    else if (code === 7) style = { ...style, reversed: true };
    else if (code === 22) style = { ...style, bold: false, dim: false };
    else if (code === 27) style = { ...style, reversed: false };
    else if (code === 38) style = { ...style, ink: extended(codes) };
    else if (code === 48) style = { ...style, ground: extended(codes) };
    else if (code === 39) style = { ...style, ink: null };
    else if (code === 49) style = { ...style, ground: null };
    else if (code >= 30 && code <= 37) style = { ...style, ink: COLOURS[code - 30] ?? null };
    else if (code >= 90 && code <= 97) style = { ...style, ink: COLOURS[code - 82] ?? null };
    else if (code >= 40 && code <= 47) style = { ...style, ground: COLOURS[code - 40] ?? null };
    else if (code >= 100 && code <= 107) style = { ...style, ground: COLOURS[code - 92] ?? null };
  }
  return style;
}

/** A colour of 256, or one of red, green and blue. */
function extended(codes: number[]): string | null {
  if (codes.shift() === 2) return `rgb(${codes.splice(0, 3).join()})`;
  const index = codes.shift() ?? 0;
  if (index < 16) return COLOURS[index] ?? null;
  if (index >= 232)
    return `rgb(${Array(3)
      .fill(8 + 10 * (index - 232))
      .join()})`;
  const part = (divisor: number): number =>
    [0, 95, 135, 175, 215, 255][Math.floor((index - 16) / divisor) % 6] ?? 0;
  return `rgb(${part(36)},${part(6)},${part(1)})`;
}

function css({ ink, ground, bold, dim, reversed }: Style): string {
  const [front, back] = reversed ? [ground ?? GROUND, ink ?? INK] : [ink, ground];
  return [
    front === null ? "" : `color:${front};`,
    back === null ? "" : `background:${back};`,
    bold ? "font-weight:bold;" : "",
    dim ? "opacity:.65;" : "",
  ].join("");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

// Names and texts of guests, shown as text: a name may hold escape sequences, or turn the direction of the line.

/** The longest text of one line, in characters; the detail of a record has the whole. */
export const LINE_MAX_CHARACTERS = 160;

/** Shows control characters as pictures, and marks those that are invisible or change the direction. */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "␡";
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** `visible`, cut to a line. */
export function line(text: string, max = LINE_MAX_CHARACTERS): string {
  // Only the beginning is made visible: a name may have millions of characters.
  const head = text.slice(0, max);
  return text.length > max ? `${visible(head)}…` : visible(head);
}

export function count(value: number): string {
  return value.toLocaleString("en-GB");
}

/** A count in little room: 1.2k, 34M. */
export function shortCount(value: number): string {
  const units: [number, string][] = [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ];
  const [unit, name] = units.find(([size]) => value >= size) ?? [1, ""];
  const scaled = value / unit;
  return unit > 1 && scaled < 10 ? `${scaled.toFixed(1)}${name}` : `${Math.floor(scaled)}${name}`;
}

export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** A number in its unit of the catalogue, with a readable form of large sizes. */
export function withUnit(value: number, unit: string): string {
  if (/^bytes?$/i.test(unit) && value >= 1024) {
    const names = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    const power = Math.min(names.length, Math.floor(Math.log2(value) / 10));
    return `${count(value)} ${unit} (${(value / 1024 ** power).toFixed(1)} ${names[power - 1]})`;
  }
  return `${count(value)} ${unit}`;
}

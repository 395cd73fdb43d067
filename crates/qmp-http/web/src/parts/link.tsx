// A link within the page: a press changes the address without loading, and a copy of the address works too.

import type { ComponentChildren } from "preact";
import { type Place, placePath } from "../location.ts";
import { usePage } from "../page.ts";

export function Link({ place, children }: { place: Place; children: ComponentChildren }) {
  const { visit } = usePage();
  return (
    <a
      href={placePath(place)}
      onClick={(event) => {
        // A new tab or window is for the browser.
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        visit(place);
      }}
    >
      {children}
    </a>
  );
}

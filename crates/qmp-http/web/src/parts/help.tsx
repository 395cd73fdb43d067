// The keys of the page.

import { useEffect, useRef } from "preact/hooks";

const KEYS: [keys: string[], meaning: string][] = [
  [["A", "D"], "earlier, later (also ← and →)"],
  [["W", "S"], "zoom in, zoom out (also ↑ and ↓, + and −, Ctrl with the wheel)"],
  [["0"], "the last day"],
  [["F"], "fit the view to the chosen record and what it has to do with"],
  [["L"], "follow the present, or stand still"],
  [["[", "]"], "previous gap, next gap"],
  [["P", "N"], "previous finding, next finding"],
  [["E"], "errors and warnings only"],
  [["T"], "lanes as a table"],
  [["/"], "search a text"],
  [["Esc"], "close the record, or leave a field"],
  [["?"], "this help"],
];

const ON_LANES: [keys: string[], meaning: string][] = [
  [["←", "→"], "previous, next record of the VM"],
  [["↑", "↓"], "previous, next VM"],
  [["Enter"], "open the record"],
];

export function Help({ close }: { close(): void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={close}>
      <h2 id="help-title">Keys</h2>
      <Keys keys={KEYS} />
      <h3>With the lanes in focus</h3>
      <Keys keys={ON_LANES} />
      <p class="soft">
        Drag the lanes to move in time; drag over the histogram to zoom to a span. The back button undoes a
        zoom. Times are in the time zone of this browser.
      </p>
      <button type="button" onClick={() => dialog.current?.close()}>
        Close
      </button>
    </dialog>
  );
}

function Keys({ keys }: { keys: [keys: string[], meaning: string][] }) {
  return (
    <dl class="keys">
      {keys.map(([names, meaning]) => (
        <div key={meaning}>
          <dt>
            {names.map((name) => (
              <kbd key={name}>{name}</kbd>
            ))}
          </dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  );
}

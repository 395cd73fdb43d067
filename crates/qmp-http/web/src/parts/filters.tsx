// What is shown: VMs, events, findings, severities, a text. All of it is in the address.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Filters, isFiltered, NO_FILTERS, SORTS } from "../location.ts";
import { usePage } from "../page.ts";
import { SEVERITIES, SEVERITY_TEXTS, type Severity } from "../severity.ts";
import { line } from "../text.ts";

const SORT_TEXTS = { trouble: "Trouble first", name: "By name", activity: "Busiest first" } as const;
const TYPING_MS = 300;

interface FilterBarProps {
  hasVm: boolean;
  hasEvent: boolean;
  /** Whether the hub has VMs of other hosts. */
  hasHost?: boolean;
}

export function FilterBar({ hasVm, hasEvent, hasHost = false }: FilterBarProps) {
  const { state, go } = usePage();
  const { filters } = state;
  // On a narrow screen the filters would push the lanes out of it.
  const [isOpen, setOpen] = useState(isFiltered(filters));
  const change = (part: Partial<Filters>): void => go({ filters: { ...filters, ...part } });
  const toggle = (severity: Severity): void => {
    const isOn = filters.severity.includes(severity);
    change({
      severity: SEVERITIES.filter((name) => (name === severity ? !isOn : filters.severity.includes(name))),
    });
  };
  return (
    <search class={isOpen ? "filters" : "filters folded"}>
      <button type="button" class="fold" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        Filters
      </button>
      {hasVm && <Names label="VM" hint="web*" values={filters.vm} change={(vm) => change({ vm })} />}
      {hasVm && (hasHost || filters.host.length > 0) && (
        <Names label="Host" hint="node*" values={filters.host} change={(host) => change({ host })} />
      )}
      {hasEvent && (
        <Names label="Event" hint="BLOCK_*" values={filters.event} change={(event) => change({ event })} />
      )}
      {hasEvent && (
        <Names
          label="Finding"
          hint="storm"
          values={filters.finding}
          change={(finding) => change({ finding })}
        />
      )}
      <TextFilter text={filters.text} change={(text) => change({ text })} />
      {hasEvent && (
        <fieldset class="severities">
          <legend class="hidden">Severity</legend>
          {SEVERITIES.map((severity) => (
            <button
              key={severity}
              type="button"
              class={`chip ${severity}`}
              aria-pressed={filters.severity.includes(severity)}
              onClick={() => toggle(severity)}
            >
              <span class="swatch" aria-hidden="true" />
              {SEVERITY_TEXTS[severity]}
            </button>
          ))}
        </fieldset>
      )}
      {isFiltered(filters) && (
        <button type="button" class="quiet" onClick={() => go({ filters: NO_FILTERS })}>
          Clear filters
        </button>
      )}
      {hasVm && (
        <label class="sort">
          <span class="hidden">Order of the lanes</span>
          <select
            value={state.sort}
            onChange={(event) =>
              go({ sort: SORTS.find((sort) => sort === event.currentTarget.value) ?? "trouble" })
            }
          >
            {SORTS.map((sort) => (
              <option key={sort} value={sort}>
                {SORT_TEXTS[sort]}
              </option>
            ))}
          </select>
        </label>
      )}
      <button
        type="button"
        class="quiet"
        aria-pressed={state.table}
        onClick={() => go({ table: !state.table })}
      >
        Table
      </button>
    </search>
  );
}

interface NamesProps {
  label: string;
  hint: string;
  values: string[];
  change(values: string[]): void;
}

/** Names or patterns: each is a chip, and Enter adds one. */
function Names({ label, hint, values, change }: NamesProps) {
  const [text, setText] = useState("");
  const add = (event: Event): void => {
    event.preventDefault();
    const value = text.trim();
    if (value !== "" && !values.includes(value)) change([...values, value]);
    setText("");
  };
  return (
    <form class="names" onSubmit={add}>
      {values.map((value) => (
        <Chip key={value} remove={() => change(values.filter((other) => other !== value))} label={label}>
          {line(value, 30)}
        </Chip>
      ))}
      <input
        aria-label={`${label}: a name or a pattern such as ${hint}`}
        placeholder={values.length === 0 ? label : "and…"}
        title={`A name or a pattern such as ${hint}; Enter adds it`}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onBlur={add}
      />
    </form>
  );
}

function Chip({ children, label, remove }: { children: ComponentChildren; label: string; remove(): void }) {
  return (
    <button type="button" class="chip value" onClick={remove} title={`Remove this filter (${label})`}>
      <bdi>{children}</bdi>
      <span aria-hidden="true">✕</span>
      <span class="hidden">, remove this filter ({label})</span>
    </button>
  );
}

function TextFilter({ text, change }: { text: string; change(text: string): void }) {
  const [typed, setTyped] = useState(text);
  useEffect(() => setTyped(text), [text]);
  useEffect(() => {
    if (typed === text) return;
    const timer = window.setTimeout(() => change(typed), TYPING_MS);
    return () => window.clearTimeout(timer);
  }, [typed]);
  return (
    <input
      id="search"
      type="search"
      class="search"
      aria-label="Text in the list of records"
      placeholder="Text in records  /"
      value={typed}
      onInput={(event) => setTyped(event.currentTarget.value)}
    />
  );
}

import assert from "node:assert/strict";
import { test } from "node:test";
import type { HubRecord, Lane, Timeline } from "../src/api.ts";
import { exactly, parseRecord, qualified, recordRequests } from "../src/client.ts";
import { NO_FILTERS, readLocation, writeLocation } from "../src/location.ts";
import { matches, matchesGlob, matchesHost, matchesVm } from "../src/matching.ts";
import { members, summary, valueText } from "../src/members.ts";
import { overlay } from "../src/overlay.ts";
import { merged } from "../src/parts/records.ts";
import { stateLook } from "../src/states.ts";
import { MessageParser } from "../src/stream.ts";
import { line, shortCount, visible, withUnit } from "../src/text.ts";
import { DAY, duration, fromRfc3339, MINUTE, soFar, ticks, toRfc3339 } from "../src/time.ts";
import { withoutOffGaps } from "../src/unwatched.ts";
import { between, current, firstSpan, liveView, pan, span, zoom } from "../src/view.ts";

const NOW = fromRfc3339("2026-11-29T12:00:00Z");

test("time_in_rfc3339_keeps_microseconds", () => {
  const cases: [text: string, micros: number][] = [
    ["1970-01-01T00:00:01Z", 1_000_000],
    ["1970-01-01T00:00:01.5Z", 1_500_000],
    ["1970-01-01T01:00:00.000001+01:00", 1],
    ["2026-11-29T02:28:08.430627Z", 1_795_919_288_430_627],
  ];
  for (const [text, micros] of cases) assert.equal(fromRfc3339(text), micros, text);
  assert.equal(toRfc3339(1_795_919_288_430_627), "2026-11-29T02:28:08.430627Z");
  assert.ok(Number.isNaN(fromRfc3339("yesterday")));
});

test("duration_names_its_two_largest_units", () => {
  const cases: [micros: number, text: string][] = [
    [0, "0 µs"],
    [900, "900 µs"],
    [250_000, "250 ms"],
    [1_500_000, "1.5 s"],
    [59_900_000, "59 s"],
    [61_000_000, "1 min 1 s"],
    [3_600_000_000, "1 h"],
    [93_600_000_000, "1 d 2 h"],
    [400 * 86_400_000_000, "1 y 35 d"],
  ];
  for (const [micros, text] of cases) assert.equal(duration(micros), text);
});

test("time_that_grows_is_shown_in_whole_seconds", () => {
  assert.equal(soFar(-5), "less than a second");
  assert.equal(soFar(1_700_000), "1 s");
});

test("page_begins_with_a_view_that_shows_the_first_record", () => {
  const cases: [age: number | null, span: number][] = [
    [null, 5 * MINUTE],
    [0, 5 * MINUTE],
    [-MINUTE, 5 * MINUTE],
    [5 * MINUTE + 1, 15 * MINUTE],
    [7 * 60 * MINUTE, DAY],
    [300 * DAY, DAY],
  ];
  for (const [age, expected] of cases) {
    assert.equal(firstSpan(age === null ? null : NOW - age, NOW), expected, String(age));
  }
});

test("axis_of_any_length_has_few_ticks_in_order", () => {
  for (let length = 1e4; length < 20 * 365 * 86_400e6; length *= 3) {
    const found = ticks(NOW - length, NOW, 10);
    assert.ok(found.length >= 1 && found.length <= 26, `${duration(length)}: ${found.length} ticks`);
    for (const [index, tick] of found.entries()) {
      assert.ok(tick.at >= NOW - length && tick.at <= NOW);
      assert.ok(index === 0 || tick.at > (found[index - 1]?.at ?? 0));
    }
  }
});

test("hostile_text_becomes_visible", () => {
  const cases: [text: string, shown: string][] = [
    ["web1", "web1"],
    ["\u001b[31mred", "␛[31mred"],
    ["a\u202eb", "a⟨U+202E⟩b"],
    ["a\u200bb", "a⟨U+200B⟩b"],
    ["\u007f", "␡"],
    ["<script>", "<script>"],
  ];
  for (const [text, shown] of cases) assert.equal(visible(text), shown);
  assert.equal(line("x".repeat(10_000), 5), "xxxxx…");
});

test("number_is_shown_with_its_unit", () => {
  assert.equal(withUnit(512, "bytes"), "512 bytes");
  assert.equal(withUnit(21_474_836_480, "bytes"), "21,474,836,480 bytes (20.0 GiB)");
  assert.equal(valueText(3, "ms"), "3 ms");
  assert.equal(valueText("", null), "(empty)");
  assert.deepEqual([0, 999, 1_200, 34e6].map(shortCount), ["0", "999", "1.2k", "34M"]);
});

test("zoom_keeps_the_moment_at_its_anchor", () => {
  const view = { since: NOW - 3_600e6, until: NOW - 1_800e6, live: false };
  for (const anchor of [0, 0.25, 0.8]) {
    for (const factor of [0.1, 0.5, 2, 30]) {
      const before = view.since + span(view) * anchor;
      const zoomed = zoom(view, factor, anchor, NOW + 86_400e6);
      assert.ok(Math.abs(zoomed.since + span(zoomed) * anchor - before) <= 2, `${anchor} ${factor}`);
    }
  }
});

test("live_view_stays_live_only_where_its_end_is_the_anchor", () => {
  const view = liveView(NOW, 3_600e6);
  assert.equal(zoom(view, 0.5, 1, NOW).live, true);
  assert.equal(zoom(view, 0.5, 0.3, NOW).live, false);
  assert.equal(pan(view, -0.5, NOW).live, false);
  assert.deepEqual(current(view, NOW + 5), liveView(NOW + 5, 3_600e6));
});

test("view_goes_at_most_half_of_its_length_beyond_the_present", () => {
  const moved = pan(liveView(NOW, 3_600e6), 20, NOW);
  assert.equal(moved.until, NOW + 1_800e6);
  assert.equal(span(between(NOW, NOW, NOW)), 10_000);
});

test("address_has_the_whole_state", () => {
  const addresses = [
    "/",
    "/?since=2026-11-29T01%3A00%3A00.000000Z&until=2026-11-29T02%3A00%3A00.000001Z",
    "/vm/a%2Fb%3F?vm=web*&vm=db1&event=STOP&finding=storm&severity=error&severity=warning&text=a+b&sort=name",
    "/event/BLOCK_IO_ERROR?record=web%2F1%2F2%2F8&lanes=table",
  ];
  for (const address of addresses) {
    const state = readLocation(new URL(address, "http://hub"), NOW, DAY);
    assert.equal(writeLocation(state), address);
  }
});

test("live_address_keeps_the_length_and_not_the_time", () => {
  const address = writeLocation({
    ...readLocation(new URL("http://hub/"), NOW, DAY),
    view: liveView(NOW, 60e6),
  });
  assert.match(address, /&live$/);
  const { view } = readLocation(new URL(address, "http://hub"), NOW + 1e9, DAY);
  assert.deepEqual(view, liveView(NOW + 1e9, 60e6));
});

test("wrong_address_shows_the_last_day", () => {
  for (const query of [
    "?since=x&until=y",
    "?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
    "?record=x",
    "?sort=y",
  ]) {
    const state = readLocation(new URL(`http://hub/nowhere${query}`), NOW, DAY);
    assert.deepEqual(
      [state.view, state.record, state.sort],
      [liveView(NOW, 86_400e6), null, "trouble"],
      query,
    );
  }
});

test("glob_matches_as_the_hub_does", () => {
  const cases: [pattern: string, name: string, isMatch: boolean][] = [
    ["web*", "web12", true],
    ["web?", "web12", false],
    ["web[12]", "web2", true],
    ["web[!12]", "web2", false],
    ["a.b", "axb", false],
    [exactly("a*b[1]\\"), "a*b[1]\\", true],
    [exactly("a*b"), "axb", false],
  ];
  for (const [pattern, name, isMatch] of cases)
    assert.equal(matchesGlob(pattern, name), isMatch, `${pattern} ${name}`);
});

test("vm_of_other_host_is_named_with_its_host", () => {
  const record = parseRecord(
    '{"offset":1,"host":"node1","vm":"web1","epoch":1,"seq":0,"kind":"attached","snapshot":{}}',
  );
  assert.equal(record.vm, "node1/web1");
  assert.equal(qualified(qualified({ host: "node1", vm: "web1" })).vm, "node1/web1");
  assert.equal(qualified({ vm: "web1" }).vm, "web1");
  const cases: [pattern: string, name: string, isMatch: boolean][] = [
    ["web*", "web1", true],
    ["web*", "node1/web1", true],
    ["node*", "node1/web1", false],
    ["node1/web?", "node1/web1", true],
    ["node1/*", "web1", false],
    ["/web1", "web1", true],
    ["/web1", "node1/web1", false],
  ];
  for (const [pattern, name, isMatch] of cases)
    assert.equal(matchesVm(pattern, name), isMatch, `${pattern} ${name}`);
});

const event = (offset: number, name: string, received = "2026-11-29T11:00:00.000000Z"): HubRecord => {
  return {
    offset,
    vm: "web1",
    epoch: 1,
    seq: offset,
    received,
    kind: "event",
    event: name,
    data: { guest: true },
  };
};
const finding = (offset: number, kind: string): HubRecord => {
  const { vm, epoch, seq, received } = event(offset, "");
  return {
    offset,
    vm,
    epoch,
    seq,
    received,
    kind: "finding",
    finding: kind,
    summary: "It stopped.",
    causes: [],
  };
};

test("host_of_a_record_matches", () => {
  const cases: [pattern: string, name: string, isMatch: boolean][] = [
    ["node*", "node1/web1", true],
    ["node1", "node12/web1", false],
    ["*", "web1", false],
    ["web*", "node1/web1", false],
    ["node1~2", "node1~2/web1", true],
  ];
  for (const [pattern, name, isMatch] of cases)
    assert.equal(matchesHost(pattern, name), isMatch, `${pattern} ${name}`);
  const address = writeLocation({
    ...readLocation(new URL("http://h/?host=node*&host=db"), 0, null),
  });
  assert.match(address, /host=node\*&host=db/);
  assert.deepEqual(recordRequests({ ...NO_FILTERS, vm: ["web*"], host: ["node1"] }), [
    [
      ["vm", "web*"],
      ["host", "node1"],
    ],
  ]);
});

test("filters_choose_records", () => {
  const cases: [filters: Partial<typeof NO_FILTERS>, event: boolean, finding: boolean][] = [
    [{}, true, true],
    [{ vm: ["web*"] }, true, true],
    [{ vm: ["db*"] }, false, false],
    [{ host: ["*"] }, false, false],
    [{ event: ["STO*"] }, true, false],
    [{ finding: ["why-paused"] }, false, true],
    [{ finding: ["storm"] }, false, false],
    [{ severity: ["lifecycle"] }, true, true],
    [{ severity: ["error"] }, false, true],
    [{ text: "IT STOP" }, false, true],
    [{ event: ["STOP"], finding: ["why-paused"] }, true, true],
  ];
  for (const [filters, isEvent, isFinding] of cases) {
    const all = { ...NO_FILTERS, ...filters };
    const found = [matches(event(1, "STOP"), all), matches(finding(2, "why-paused"), all)];
    assert.deepEqual(found, [isEvent, isFinding], JSON.stringify(filters));
  }
});

test("requests_together_have_the_records_of_the_filters", () => {
  const cases: [filters: Partial<typeof NO_FILTERS>, requests: number][] = [
    [{}, 1],
    [{ event: ["STOP"] }, 1],
    [{ severity: ["news"] }, 1],
    [{ severity: ["error"] }, 2],
    [{ finding: ["a", "b"] }, 2],
    [{ event: ["STOP"], finding: ["a"] }, 2],
  ];
  for (const [filters, requests] of cases) {
    assert.equal(recordRequests({ ...NO_FILTERS, ...filters }).length, requests, JSON.stringify(filters));
  }
});

test("answers_that_were_cut_are_joined_without_holes", () => {
  const cut = [event(5, "A"), event(9, "A")];
  const whole = [event(2, "B"), event(7, "B")];
  const { records, hasMore } = merged([cut, whole], 2);
  // Both answers have as many records as were asked for, so that nothing before 5 is complete.
  assert.deepEqual(
    records.map((record) => record.offset),
    [5, 7, 9],
  );
  assert.equal(hasMore, true);
  assert.deepEqual(merged([whole], 3), { records: whole, hasMore: false });
});

test("stream_is_split_wherever_it_is_cut", () => {
  const text =
    'retry: 2000\nid: 7\n\nid: 8\nevent: event\ndata: {"a":\ndata: 1}\n\n: nothing else yet\nid: 9\n\n';
  for (let size = 1; size < text.length; size += 1) {
    const parser = new MessageParser();
    const found = [];
    for (let at = 0; at < text.length; at += size) found.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(found, [{ id: "8", event: "event", data: '{"a":\n1}' }]);
    assert.equal(parser.lastId, "9");
  }
});

test("members_have_paths_and_meanings", () => {
  const member = { name: "server.host", unit: null, summary: "The host." };
  const meaning = { members: [member] } as never;
  const found = members({ server: { host: "::1" }, list: [{ id: 1 }], none: {} }, meaning);
  assert.deepEqual(
    found.map(({ path, value, entry }) => [path, value, entry?.summary]),
    [
      ["server.host", "::1", "The host."],
      ["list[0].id", 1, undefined],
      ["none", {}, undefined],
    ],
  );
  assert.equal(summary(event(1, "STOP")), "guest=true");
});

test("state_has_one_of_five_looks", () => {
  const cases: [state: string | null, look: string][] = [
    ["running", "running"],
    ["paused", "stopped"],
    ["io-error", "trouble"],
    ["ended", "off"],
    ["gone", "off"],
    ["unknown", "unknown"],
    [null, "unknown"],
    ["a-state-of-tomorrow", "stopped"],
  ];
  for (const [state, look] of cases) assert.equal(stateLook(state), look, String(state));
});

test("gap_is_not_the_time_in_which_a_vm_was_off", () => {
  // running, ended, unknown
  const cases: [
    states: [number, number | null, number][],
    gaps: [number, number | null][],
    left: [number, number | null][],
  ][] = [
    [[[0, 9, 0]], [[2, 3]], [[2, 3]]],
    [
      [
        [0, 2, 0],
        [2, 5, 1],
        [5, null, 0],
      ],
      [[2, 5]],
      [],
    ],
    [
      [
        [0, 2, 0],
        [2, null, 1],
      ],
      [[2, null]],
      [],
    ],
    [
      [
        [0, 2, 0],
        [2, 4, 2],
        [4, 6, 1],
        [6, 8, 2],
      ],
      [[2, 8]],
      [
        [2, 4],
        [6, 8],
      ],
    ],
    [
      [
        [0, 2, 0],
        [2, null, 2],
      ],
      [[2, null]],
      [[2, null]],
    ],
  ];
  for (const [states, gaps, left] of cases) {
    const lane = {
      vm: "web1",
      counts: {},
      findings: [],
      states: states.map(([from, to, state]) => [from, to, state, 0]),
      gaps: gaps.map(([from, to]) => [from, to, 0, 1]),
    };
    const timeline = { states: ["running", "ended", "unknown"], lanes: [lane] } as unknown as Timeline;
    const found = withoutOffGaps(timeline).lanes[0]?.gaps.map(([from, to]) => [from, to]);
    assert.deepEqual(found, left, JSON.stringify(states));
  }
});

test("streamed_records_continue_the_timeline", () => {
  const lane: Lane = { vm: "web1", counts: {}, states: [[0, null, 0, 0]], gaps: [], findings: [], marks: [] };
  const timeline = {
    since: 0,
    until: 2e6,
    bucket: 1e6,
    head: 1,
    states: ["running"],
    reasons: [],
    kinds: [],
    total: {},
    lanes: [lane],
  } as unknown as Timeline;
  const at = "1970-01-01T00:00:02.000000Z";
  const { vm, epoch, seq } = event(3, "");
  const records: HubRecord[] = [
    event(1, "RESET", at),
    event(2, "STOP", at),
    { offset: 3, vm, epoch, seq, received: at, kind: "detached", reason: "hub stopped" },
    {
      offset: 4,
      vm,
      epoch: 2,
      seq: 0,
      received: "1970-01-01T00:00:05.000000Z",
      kind: "attached",
      snapshot: {},
    },
  ];
  assert.equal(overlay(timeline, records, false), timeline, "a view that has ended gets no later records");
  const made = overlay(timeline, records, true).lanes[0];
  assert.deepEqual(made?.marks, [[2, 2e6, "STOP"]]);
  assert.deepEqual(made?.states, [
    [0, 2e6, 0, 0],
    [2e6, null, 1, 0],
  ]);
  assert.deepEqual(made?.gaps, [[2e6, 5e6, 0, 1]]);
  assert.deepEqual(lane.marks, [], "the answer of the hub is unchanged");
});

//! The text and the JSON of answers.

use super::*;
use qmp_findings::Correlators;
use qmp_findings::state::Silence;
use qmp_wire::{DetachReason, Epoch, Offset, Seq, Timestamp};

/// A VM that stops because of an I/O error, with the given end of its epoch.
fn answer(reason: Option<DetachReason>) -> Answer {
    let event = |name: &'static str, data: Option<&'static str>| Body::Event {
        name: name.into(),
        sent_name: None,
        timestamp: Timestamp::from_wire(1_767_323_045, 678_000).expect("a time"),
        data: data.map(Into::into),
    };
    let snapshot = r#"{"query-status": {"status": "running", "running": true}}"#;
    let io_error = r#"{"device": "d0\u001b[2J", "operation": "read", "action": "stop", "reason": "I/O"}"#;
    let bodies = [
        Some(Body::Attached { snapshot: snapshot.into() }),
        Some(event("BLOCK_IO_ERROR", Some(io_error))),
        Some(event("STOP", None)),
        reason.map(|reason| Body::Detached { reason, detail: None, certain_until: None }),
    ];
    let mut correlators = Correlators::new();
    let records: Vec<Record<'static>> = (0..)
        .zip(bodies.into_iter().flatten())
        .map(|(seq, body)| Record {
            offset: Some(Offset(seq + 1)),
            vm: "web1".into(),
            epoch: Epoch(1),
            seq: Seq(seq),
            received: UnixMicros(1_767_323_045_679_000),
            body,
        })
        .collect();
    records.iter().for_each(|record| correlators.record(record, &mut Vec::new()));
    let state = correlators.state("web1").expect("the VM is known");
    Answer {
        state,
        evidence: records[1..3].to_vec(),
        last_received: None,
        previous: None,
        is_beginning_removed: false,
        detached_later: None,
    }
}

#[test]
fn answer_is_text_with_evidence() {
    let text = |reason| answer(reason).text("web1", Palette::new(false), TimeZone::UTC);
    insta::assert_snapshot!(text(None), @r#"
    web1 · io-error since 2026-01-02 03:04:05.679
    A read from disk d0\u001b[2J failed (I/O), and QEMU paused it until `cont`, which tries again.

    2026-01-02 03:04:05.678  web1    BLOCK_IO_ERROR          device="d0\u001b[2J" operation=read action=stop reason=I/O
    2026-01-02 03:04:05.678  web1    STOP

    qmp events BLOCK_IO_ERROR describes that event.
    "#);
    let doubt = text(Some(DetachReason::HubStopped));
    assert!(
        doubt.contains(
            "\nThis is the last known state: epoch 1 ended (hub stopped), and nothing is certain since \
             2026-01-02 03:04:05.679.\n"
        ),
        "{doubt}"
    );
}

#[test]
fn open_epoch_in_a_file_is_certain_until_its_last_record() {
    let answer = Answer { last_received: Some(UnixMicros(1_767_323_045_679_000)), ..answer(None) };
    let text = answer.text("web1", Palette::new(false), TimeZone::UTC);
    let expected = "\nThis is from the file: nothing is certain after 2026-01-02 03:04:05.679 unless a hub still \
                    writes it.\n";
    assert!(text.contains(expected), "{text}");
    assert!(answer.json("web1").contains(r#""last_received":"2026-01-02T03:04:05.679000Z""#));
}

#[test]
fn missing_records_and_uncertain_time_are_shown() {
    let shown = |answer: Answer| answer.text("web1", Palette::new(false), TimeZone::UTC);
    let later =
        DetachedLater { reason: "hub stopped".into(), certain_until: UnixMicros(1_767_323_045_700_000) };
    let text = shown(Answer { detached_later: Some(later), ..answer(None) });
    let expected = "epoch 1 ended (hub stopped), and nothing is certain since 2026-01-02 03:04:05.700.\n";
    assert!(text.contains(expected), "{text}");
    let missing = |after: Option<(u32, u64)>, before: (u32, u64)| {
        let mut answer = answer(None);
        let after = after.map(|(epoch, seq)| (Epoch(epoch), Seq(seq)));
        answer.state.incomplete = Some(MissingRecords { after, before: (Epoch(before.0), Seq(before.1)) });
        shown(answer)
    };
    let cases = [
        (missing(None, (1, 4)), "The records of epoch 1 before number 4 are missing: "),
        (missing(Some((1, 2)), (1, 4)), "The records of epoch 1 between numbers 2 and 4 are missing: "),
        (
            missing(Some((1, 2)), (2, 0)),
            "The records between number 2 of epoch 1 and number 0 of epoch 2 are missing: ",
        ),
        (
            shown(Answer { is_beginning_removed: true, ..answer(None) }),
            "The beginning of epoch 1 is not in the journal any more; ",
        ),
    ];
    for (text, expected) in cases {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn silence_and_previous_epoch_are_shown() {
    let mut answer = answer(None);
    let since = UnixMicros(1_767_323_045_700_000);
    answer.state.silence = Some(Silence { record: (Epoch(1), Seq(3)), since });
    let summary = Some("The guest panicked\u{1b}.".to_owned());
    answer.previous = Some(Previous { epoch: 6, summary });
    let text = answer.text("web1", Palette::new(false), TimeZone::UTC);
    let head: Vec<&str> = text.lines().take(4).collect();
    insta::assert_snapshot!(head.join("\n"), @r"
    web1 · io-error? since 2026-01-02 03:04:05.679
    A read from disk d0\u001b[2J failed (I/O), and QEMU paused it until `cont`, which tries again.
    Its monitor has not answered since 2026-01-02 03:04:05.700; its state since then is unknown.
    Epoch 6, before this one: The guest panicked\u001b. See `qmp why web1 --epoch 6`.
    ");
    let value: serde_json::Value = serde_json::from_str(&answer.json("web1")).expect("JSON");
    assert_eq!(value["silent_since"], since.to_string());
    assert_eq!(value["previous"]["epoch"], 6);
}

#[test]
fn answer_in_json_is_one_line() {
    let line = answer(None).json("web1");
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
    assert_eq!((&value["vm"], &value["why"]["cause"]), (&"web1".into(), &"io-error".into()));
    assert_eq!(
        (&value["why"]["causes"], &value["evidence"][1]["event"]),
        (&json!([[1, 1], [1, 2]]), &"STOP".into())
    );
}

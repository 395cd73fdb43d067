//! Quorum: three copies of a disk that do not agree.

use std::time::Duration;

use qmp_real_qemu::{Scenario, Vm};

const ALIKE: [u8; 4096] = [0; 4096];
const OTHER: [u8; 4096] = [1; 4096];
const ANOTHER: [u8; 4096] = [2; 4096];

pub(crate) const QUORUM: &str = "-blockdev file,node-name=a,filename=a.img -blockdev file,node-name=b,filename=b.img -blockdev file,node-name=c,filename=c.img -blockdev {\"driver\":\"quorum\",\"node-name\":\"q\",\"vote-threshold\":2,\"children\":[\"a\",\"b\",\"c\"]}";

fn scenario(name: &'static str, cause: &'static str, copies: [&[u8]; 3]) -> Scenario {
    let [a, b, c] = copies;
    Scenario::new(name, cause).options(QUORUM).file("a.img", a).file("b.img", b).file("c.img", c)
}

#[test]
fn one_copy_differs() {
    let cause = "One of three copies differs from the others, and the disk is read.";
    let scenario = scenario("quorum-bad", cause, [&ALIKE, &ALIKE, &OTHER]).shows(&["QUORUM_REPORT_BAD"]);
    let Some(mut vm) = scenario.start() else { return };
    vm.human("qemu-io q \"read 0 512\"");
    vm.next("QUORUM_REPORT_BAD type=read node-name=c sector-num=0 sectors-count=1 !error");
    assert_eq!(vm.quiet(), "prelaunch");
    vm.end();
}

#[test]
fn no_two_copies_agree() {
    let cause = "Three copies differ from each other, and the disk is read.";
    let scenario = scenario("quorum-failure", cause, [&ALIKE, &OTHER, &ANOTHER]).shows(&["QUORUM_FAILURE"]);
    let Some(mut vm) = scenario.start() else { return };
    vm.human("qemu-io q \"read 0 512\"");
    vm.until("QUORUM_FAILURE reference=q sector-num=0 sectors-count=1");
    vm.end();
}

/// Copies whose flush fails, after something was written: what was not written is not flushed.
fn flush(name: &'static str, cause: &'static str, bad: &[&str]) -> Option<Vm> {
    let node = |name: &str| {
        if bad.contains(&name) {
            format!(
                r#"-blockdev {{"driver":"blkdebug","node-name":"{name}","image":{{"driver":"null-co","size":4096,"read-zeroes":true}},"inject-error":[{{"event":"none","iotype":"flush","errno":5}}]}}"#
            )
        } else {
            format!("-blockdev null-co,node-name={name},size=4096,read-zeroes=on")
        }
    };
    let quorum =
        r#"-blockdev {"driver":"quorum","node-name":"q","vote-threshold":2,"children":["a","b","c"]}"#;
    let options = format!("{} {quorum}", ["a", "b", "c"].map(node).join(" "));
    let mut vm = Scenario::new(name, cause).options(&options).start()?;
    vm.human("qemu-io q \"write 0 512\"");
    vm.human("qemu-io q flush");
    for node in bad {
        let error = "error=\"Input/output error\"";
        vm.next(&format!(
            "QUORUM_REPORT_BAD type=flush node-name={node} sector-num=0 sectors-count=0 {error}"
        ));
    }
    // Even when the flush as a whole fails there is no QUORUM_FAILURE.
    assert_eq!(vm.quiet(), "prelaunch");
    Some(vm)
}

#[test]
fn flush_fails() {
    let cases = [
        ("quorum-flush", "The disk is flushed, which fails for one of its three copies.", &["c"][..]),
        (
            "quorum-flush-failure",
            "The disk is flushed, which fails for two of its three copies.",
            &["b", "c"],
        ),
    ];
    for (name, cause, bad) in cases {
        let Some(vm) = flush(name, cause, bad) else { return };
        vm.end();
    }
}

/// Two copies of five lose the vote again and again: each is limited by itself.
#[test]
fn two_copies_differ() {
    let names = ["a", "b", "c", "d", "e"];
    let nodes = names.map(|name| format!("-blockdev file,node-name={name},filename={name}.img"));
    let quorum = r#"-blockdev {"driver":"quorum","node-name":"q","vote-threshold":3,"children":["a","b","c","d","e"]}"#;
    let mut scenario = Scenario::new(
        "rate-quorum-bad-two",
        "Two of five copies differ from the others; the disk is read three times within a second.",
    )
    .options(&format!("{} {quorum}", nodes.join(" ")));
    for (name, copy) in names.into_iter().zip([&ALIKE, &ALIKE, &ALIKE, &OTHER, &ANOTHER]) {
        scenario = scenario.file(&format!("{name}.img"), copy);
    }
    let Some(mut vm) = scenario.start() else { return };
    for sector in 0..3 {
        vm.human(&format!("qemu-io q \"read {} 512\"", 512 * sector));
    }
    let [first, last] = [0, 2].map(|sector| {
        let of = |node| format!("QUORUM_REPORT_BAD type=read node-name={node} sector-num={sector}");
        vm.in_any_order(&[&of("d"), &of("e")])
    });
    for (first, last) in first.iter().zip(&last) {
        let waited = last.arrived.duration_since(first.arrived);
        assert!(waited > Duration::from_millis(800) && waited < Duration::from_secs(3), "{waited:?}");
        // The time is that of the cause.
        assert!(last.timestamp_us() < first.timestamp_us() + 800_000, "{}", last.text());
    }
    assert_eq!(vm.quiet(), "prelaunch");
    vm.end();
}

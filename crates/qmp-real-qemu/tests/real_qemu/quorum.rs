//! Quorum: three copies of a disk that do not agree.

use qmp_real_qemu::Scenario;

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

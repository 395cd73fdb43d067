//! The table of VMs, one a line.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::vm::{Vm, local};
use crate::render::{Palette, escape};
use crate::time::span;

const HEADS: [&str; 5] = ["VM", "RUN STATE", "SINCE", "EPOCH", "LAST EVENT"];

/// The table of the VMs that the hub follows, and a table of those that left it within `left_within`.
pub(super) fn tables(vms: &[Vm], left_within: Duration, palette: Palette, zone: &TimeZone) -> String {
    let (left, followed): (Vec<Vm>, Vec<Vm>) = vms.iter().cloned().partition(|vm| vm.state == "left");
    let mut text = match followed.as_slice() {
        [] => "the hub has no VM\n".to_owned(),
        followed => table(followed, palette, zone),
    };
    if !left.is_empty() {
        let within = span::describe(u64::try_from(left_within.as_micros()).unwrap_or(u64::MAX));
        text += &format!("\n{}\n", palette.dim(format!("left the hub within {within}:")));
        text += &table(&left, palette, zone);
    }
    text
}

/// The table. The reason is the last column, because it is the longest.
fn table(vms: &[Vm], palette: Palette, zone: &TimeZone) -> String {
    let rows: Vec<[String; 5]> = vms.iter().map(|vm| row(vm, zone)).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADS[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for (head, width) in HEADS.iter().zip(widths) {
        text += &format!("{:width$}  ", palette.dim(head));
    }
    text += &format!("{}\n", palette.dim("WHY"));
    for (vm, row) in vms.iter().zip(&rows) {
        let styles = [palette.vm(&vm.vm), anstyle::Style::new().bold()];
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let style = styles.get(column).copied().unwrap_or_default();
            text += &format!("{:width$}  ", palette.paint(style, cell));
        }
        let doubt = vm.silence(zone).or_else(|| vm.absence().map(str::to_owned));
        let why = doubt.map(|doubt| format!("{doubt}; ")).unwrap_or_default() + vm.why();
        text += &format!("{}\n", escape::text(&why));
    }
    text
}

fn row(vm: &Vm, zone: &TimeZone) -> [String; 5] {
    let dash = || "–".to_owned();
    [
        escape::text(&vm.vm).into_owned(),
        escape::text(&vm.run_state()).into_owned(),
        local(vm.run_since.as_deref().filter(|_| vm.state != "in-use").unwrap_or(&vm.since), zone),
        vm.epoch.map_or_else(dash, |epoch| epoch.to_string()),
        vm.last_event.as_ref().map_or_else(dash, |last| escape::text(&last.event).into_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_one_line_for_each_vm() {
        let day = Duration::from_secs(86_400);
        let text = tables(&super::super::vm::examples(), day, Palette::new(false), &TimeZone::UTC);
        insta::assert_snapshot!(text, @r"
        VM    RUN STATE   SINCE                    EPOCH  LAST EVENT  WHY
        web1  io-error    2026-01-02 03:04:05.678  3      STOP        A write to disk d0 failed (No space left), and QEMU paused it.
        db    running?    2026-01-01 00:00:00.000  1      –           connection refused; It ran when this epoch began.
        new   connecting  2026-01-02 03:00:00.000  –      –           no such file\u001b[2J
        100   in-use      2026-01-02 03:00:00.000  1      –           give the VM another
        nas   running?    2026-01-01 00:00:00.000  2      –           its monitor has not answered since 2026-01-02 03:04:05.678: its process 28556 is stopped, by SIGSTOP or a debugger; It ran when this epoch began.

        left the hub within 1 d:
        VM     RUN STATE  SINCE                    EPOCH  LAST EVENT  WHY
        ci-17  ended      2026-01-02 02:00:00.000  1      SHUTDOWN    The guest shut itself down, and QEMU exited.
        old    running?   2026-01-01 00:00:00.000  2      –           It ran when this epoch began.
        ");
        let text = tables(&super::super::vm::examples()[6..], day, Palette::new(false), &TimeZone::UTC);
        assert!(text.starts_with("the hub has no VM\n\nleft the hub within 1 d:\n"), "{text}");
    }
}

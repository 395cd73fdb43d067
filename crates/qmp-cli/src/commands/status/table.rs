//! The table of VMs, one a line.

use std::time::Duration;

use anstyle::Style;
use jiff::tz::TimeZone;

use super::vm::{Vm, local};
use crate::render::{Palette, escape};
use crate::time::span;

/// A column of the table.
struct Column {
    heading: &'static str,
    /// The text of a VM's cell.
    cell: fn(&Vm, &TimeZone) -> String,
    style: fn(&Vm, Palette) -> Style,
}

/// The columns. The reason is the last one, because it is the longest.
const COLUMNS: &[Column] = &[
    Column { heading: "VM", cell: |vm, _| vm.vm.clone(), style: |vm, palette| palette.vm(&vm.vm) },
    Column { heading: "RUN STATE", cell: |vm, _| vm.run_state(), style: |_, _| Style::new().bold() },
    Column { heading: "SINCE", cell: since, style: plain },
    Column { heading: "EPOCH", cell: |vm, _| or_dash(vm.epoch), style: plain },
    Column {
        heading: "LAST EVENT",
        cell: |vm, _| or_dash(vm.last_event.as_ref().map(|last| &last.event)),
        style: plain,
    },
    Column { heading: "WHY", cell: why, style: plain },
];

/// The table of the VMs that the hub follows, and a table of those that left it within `left_within`. If the VMs are a
/// selection, an empty table is left out.
pub(super) fn tables(
    vms: &[Vm],
    left_within: Duration,
    is_selection: bool,
    palette: Palette,
    zone: &TimeZone,
) -> String {
    let (left, followed): (Vec<Vm>, Vec<Vm>) = vms.iter().cloned().partition(|vm| vm.state == "left");
    let mut text = match followed.as_slice() {
        [] if is_selection => String::new(),
        [] => "the hub has no VM\n".to_owned(),
        followed => table(followed, palette, zone),
    };
    if !left.is_empty() {
        let within = span::describe(u64::try_from(left_within.as_micros()).unwrap_or(u64::MAX));
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("{}\n", palette.dim(format!("left the hub within {within}:")));
        text += &table(&left, palette, zone);
    }
    text
}

/// The table. The last column is as wide as its cells, without blanks after them.
fn table(vms: &[Vm], palette: Palette, zone: &TimeZone) -> String {
    let cell = |column: &Column, vm: &Vm| escape::text(&(column.cell)(vm, zone)).into_owned();
    let rows: Vec<Vec<String>> =
        vms.iter().map(|vm| COLUMNS.iter().map(|column| cell(column, vm)).collect()).collect();
    let width = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells.chain([COLUMNS[index].heading.len()]).max().unwrap_or(0)
    };
    let last = COLUMNS.len() - 1;
    let widths: Vec<usize> = (0..last).map(width).collect();
    let mut text = String::new();
    for (column, width) in COLUMNS.iter().zip(&widths) {
        text += &format!("{:width$}  ", palette.dim(column.heading));
    }
    text += &format!("{}\n", palette.dim(COLUMNS[last].heading));
    for (vm, row) in vms.iter().zip(&rows) {
        let painted = |index: usize| palette.paint((COLUMNS[index].style)(vm, palette), &row[index]);
        for (index, width) in widths.iter().enumerate() {
            text += &format!("{:width$}  ", painted(index));
        }
        text += &format!("{}\n", painted(last));
    }
    text
}

fn plain(_vm: &Vm, _palette: Palette) -> Style {
    Style::new()
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

fn since(vm: &Vm, zone: &TimeZone) -> String {
    local(vm.run_since.as_deref().filter(|_| vm.state != "in-use").unwrap_or(&vm.since), zone)
}

fn why(vm: &Vm, zone: &TimeZone) -> String {
    let doubt = vm.silence(zone).or_else(|| vm.absence().map(str::to_owned));
    let before = vm.elsewhere(zone).into_iter().chain(doubt);
    let before: String = before.map(|sentence| format!("{}. ", capitalized(&sentence))).collect();
    before + vm.why()
}

/// The text as the beginning of a sentence.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_one_line_for_each_vm() {
        let day = Duration::from_secs(86_400);
        let text = tables(&super::super::vm::examples(), day, false, Palette::new(false), &TimeZone::UTC);
        insta::assert_snapshot!(text, @r"
        VM    RUN STATE   SINCE                    EPOCH  LAST EVENT  WHY
        web1  io-error    2026-01-02 03:04:05.678  3      STOP        A write to disk d0 failed (No space left), and QEMU paused it.
        db    running?    2026-01-01 00:00:00.000  1      –           Connection refused. It ran when this epoch began.
        new   connecting  2026-01-02 03:00:00.000  –      –           no such file\u001b[2J
        100   in-use      2026-01-02 03:00:00.000  1      –           give the VM another
        nas   running?    2026-01-01 00:00:00.000  2      –           Its monitor has not answered since 2026-01-02 03:04:05.678: its process 28556 is stopped, by SIGSTOP or a debugger. It ran when this epoch began.

        left the hub within 1 d:
        VM     RUN STATE  SINCE                    EPOCH  LAST EVENT  WHY
        ci-17  ended      2026-01-02 02:00:00.000  1      SHUTDOWN    The guest shut itself down, and QEMU exited.
        old    running?   2026-01-01 00:00:00.000  2      –           It ran when this epoch began.
        ");
        for (is_selection, expected) in [(false, "the hub has no VM\n\nleft the hub"), (true, "left the hub")]
        {
            let left = &super::super::vm::examples()[6..];
            let text = tables(left, day, is_selection, Palette::new(false), &TimeZone::UTC);
            assert!(text.starts_with(expected), "{text}");
        }
    }
}

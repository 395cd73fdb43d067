//! The pages of text: a VM, a record, the meaning of an event, the keys.

use qmp_events::catalogue;
use qmp_wire::{Body, Record};

use super::super::super::{events, status};
use super::super::model::{Model, Page};
use crate::render::{Palette, pretty};
use crate::time::write;

/// The title and the lines of the page that is open.
pub(super) fn text(model: &Model) -> (String, Vec<String>) {
    let (title, text) = match model.page {
        Page::Main | Page::Help => ("keys".to_owned(), KEYS.to_owned()),
        Page::Vm => vm(model),
        Page::Record => match model.current_record() {
            Some(record) => (title_of(record), record_text(record, model)),
            None => ("record".to_owned(), "no record yet".to_owned()),
        },
        Page::Meaning => meaning(model),
    };
    (title, text.lines().map(str::to_owned).collect())
}

/// Everything about a record, one member a line.
pub(super) fn record_text(record: &Record<'_>, model: &Model) -> String {
    let mut text = format!("received   {}\n", write::local(record.received, &model.zone));
    text += &format!("identity   {} epoch {} seq {}\n", record.vm, record.epoch.0, record.seq.0);
    match &record.body {
        Body::Event { name, timestamp, data, .. } => {
            if let Some(timestamp) = timestamp {
                text +=
                    &format!("VM's time  {}\n", write::local(write::event_moment(*timestamp), &model.zone));
            }
            if let Some(desc) = catalogue().iter().find(|desc| desc.name == *name) {
                text += &format!("meaning    {}\n", desc.summary);
            }
            text += &format!("\n{}\n", data.as_deref().map(pretty).unwrap_or_default());
        }
        Body::Finding { summary, causes, data, .. } => {
            let causes: Vec<_> = causes.iter().map(|(epoch, seq)| format!("{}:{}", epoch.0, seq.0)).collect();
            text += &format!("causes     {}\n\n{summary}\n", causes.join(" "));
            text += &format!("\n{}\n", data.as_deref().map(pretty).unwrap_or_default());
        }
        Body::Attached { snapshot } => text += &format!("\n{}\n", pretty(snapshot)),
        Body::Detached { reason, detail, .. } => {
            text += &format!("reason     {reason}\n");
            text += &detail.as_deref().map(|detail| format!("\n{detail}\n")).unwrap_or_default();
        }
    }
    text
}

fn title_of(record: &Record<'_>) -> String {
    let name = match &record.body {
        Body::Event { name, .. } => name,
        Body::Finding { finding, .. } => finding,
        Body::Attached { .. } => "attached",
        Body::Detached { .. } => "detached",
    };
    format!("{name} of {}", record.vm)
}

fn vm(model: &Model) -> (String, String) {
    let Some(row) = model.selected_vm.as_deref().and_then(|name| model.row(name)) else {
        return ("VM".to_owned(), "the hub does not follow this VM any more".to_owned());
    };
    let mut text = status::vm_page(&row.vm, Palette::new(false), &model.zone);
    let latest: Vec<_> =
        model.recent.shown().rev().filter(|record| record.vm == row.vm.vm).take(20).collect();
    if !latest.is_empty() {
        text += "\nlatest records\n";
    }
    for record in latest {
        let what = match &record.body {
            Body::Event { name, .. } => name.to_string(),
            Body::Finding { finding, summary, .. } => format!("{finding}: {summary}"),
            other => other.kind().to_owned(),
        };
        text += &format!("  {}  {what}\n", write::local(record.received, &model.zone));
    }
    (row.vm.vm.clone(), text)
}

fn meaning(model: &Model) -> (String, String) {
    let name = match model.current_record().map(|record| &record.body) {
        Some(Body::Event { name, .. }) => name.to_string(),
        Some(Body::Finding { finding, .. }) => {
            return (
                finding.to_string(),
                format!("{finding} is a finding of the hub: docs/findings.md explains it."),
            );
        }
        _ => {
            return (
                "meaning".to_owned(),
                "Select an event in the list of records (Tab), then press e.".to_owned(),
            );
        }
    };
    match catalogue().iter().find(|desc| desc.name == name) {
        Some(desc) => (name, events::event_page(desc, None, Palette::new(false))),
        None => (name, "The catalogue does not have this event: it is newer, or of a vendor.".to_owned()),
    }
}

/// The keys, for the page of help.
const KEYS: &str = "\
q  Ctrl-C         quit
Esc               back: leave this page, then undo l, /, ! and p
Up Down  j k      move            PgUp PgDn  g G   further
Tab               between the VMs and the records
Enter             the VM, or the record, in full
w                 why the VM is in its state
l                 only the records of this VM, and all again
e                 what the event of the record means
/                 filter: parts of names, or patterns such as web*
!                 only VMs that need you, or that are not watched
p  Space          pause the list of records, and go on
s                 order: trouble, name, latest change, most records
t                 span of the history: 30 min, 3 h, 24 h
y                 copy the record or the VM to the clipboard
o                 print the address of the VM's page, and quit
Ctrl-Z            suspend: fg of the shell continues

Marks:  ! needs you    ? the state may have changed    a shade: not watched
Lanes:  each state has its own character; see the manual, \"qmp top\".
No key gives a command to a VM.
";

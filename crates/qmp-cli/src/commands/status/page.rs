//! The page of one VM.

use jiff::tz::TimeZone;

use super::vm::{JobInfo, Relay, RelayClient, Vm, local};
use crate::render::{Palette, escape};

/// The page of one VM.
pub(in crate::commands) fn page(vm: &Vm, palette: Palette, zone: &TimeZone) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let since = vm
        .run_since
        .as_deref()
        .filter(|_| vm.state != "in-use")
        .map(|since| format!(" since {}", local(since, zone)));
    lines.push(("state", vm.run_state() + &since.unwrap_or_default()));
    if !vm.why().is_empty() {
        lines.push(("why", vm.why().to_owned()));
    }
    let epoch = vm.epoch.map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
    let reason = vm.reason.as_ref().filter(|_| vm.state == "in-use").map(|reason| format!(" ({reason})"));
    let reason = reason.unwrap_or_default();
    lines.push(("monitor", format!("{}{reason}{epoch}, since {}", vm.state, local(&vm.since, zone))));
    lines.extend(vm.silence(zone).map(|silence| ("", silence)));
    lines.extend(vm.elsewhere(zone).map(|elsewhere| ("", elsewhere)));
    lines.push(("", vm.address.clone()));
    lines.extend(vm.origin.iter().map(|origin| ("from", origin.clone())));
    if let Some(error) = vm.error.as_ref().filter(|error| *error != vm.why()) {
        lines.push(("", error.clone()));
    }
    let about = [("QEMU", &vm.qemu), ("name", &vm.name), ("UUID", &vm.uuid)];
    lines.extend(about.into_iter().filter_map(|(label, value)| Some((label, value.clone()?))));
    lines.extend(vm.jobs.iter().map(|job| ("job", job_text(vm, job, zone))));
    lines.extend(vm.migration.iter().map(|migration| ("migration", job_text(vm, migration, zone))));
    for relay in &vm.relays {
        lines.push(("relay", relay_text(relay)));
        lines.extend(relay.connected.iter().map(|client| ("", client_text(client, zone))));
    }
    for (index, last) in vm.last_events.iter().rev().enumerate() {
        let label = if index == 0 { "events" } else { "" };
        lines.push((label, format!("{}  {}", local(&last.received, zone), last.event)));
    }
    let mut text = format!("{}\n", palette.paint(palette.vm(&vm.vm), escape::text(&vm.vm)));
    for (label, value) in lines {
        text += &format!("  {:9}  {}\n", palette.dim(label), escape::text(&value));
    }
    text
}

fn job_text(vm: &Vm, job: &JobInfo, zone: &TimeZone) -> String {
    let words = [job.id.as_deref(), job.ty.as_deref()];
    let what: Vec<&str> = words.into_iter().flatten().collect();
    let error = job.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    let doubt = if vm.is_current() { "" } else { "?" };
    let colon = if what.is_empty() { "" } else { ": " };
    format!("{}{colon}{}{doubt}{error} since {}", what.join(" "), job.status, local(&job.since, zone))
}

fn relay_text(relay: &Relay) -> String {
    if let Some(error) = &relay.error {
        return format!("{}  {}, not served: {error}", relay.path, relay.role);
    }
    let clients = match relay.clients {
        0 => "no clients".to_owned(),
        1 => "1 client".to_owned(),
        many => format!("{many} clients"),
    };
    format!("{}  {}, {clients}", relay.path, relay.role)
}

fn client_text(client: &RelayClient, zone: &TimeZone) -> String {
    let pid = client.pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
    let comm = client.comm.as_ref().map(|comm| format!(" ({comm})")).unwrap_or_default();
    let commands = match client.commands {
        1 => "1 command".to_owned(),
        many => format!("{many} commands"),
    };
    format!("  {}{pid}{comm} since {}, {commands}", client.user, local(&client.since, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_of_one_vm_has_everything_known() {
        let vms = super::super::vm::examples();
        let page = |index: usize| page(&vms[index], Palette::new(false), &TimeZone::UTC);
        insta::assert_snapshot!(page(0), @r"
        web1
          state      io-error since 2026-01-02 03:04:05.678
          why        A write to disk d0 failed (No space left), and QEMU paused it.
          monitor    attached, epoch 3, since 2026-01-02 03:00:00.000
                     unix:/run/web1.sock
          QEMU       7.2.22
          name       web-1
          job        mirror0 mirror: ready since 2026-01-02 02:00:00.000
          job        snap0 snapshot-load: concluded (Snapshot 'x' does not exist) since 2026-01-02 02:00:01.000
          migration  outgoing: active since 2026-01-02 03:04:00.000
          relay      /run/web1.qmp  observe, 2 clients
                       alice pid 4242 (qmp-shell) since 2026-01-02 03:00:00.000, 1 command
                       uid 107 since 2026-01-02 03:01:00.000, 0 commands
          relay      /run/web1-op.qmp  operate, no clients
          events     2026-01-02 03:04:05.678  STOP
                     2026-01-02 03:04:05.678  BLOCK_IO_ERROR
        ");
        insta::assert_snapshot!(page(1), @r"
        db
          state      running? since 2026-01-01 00:00:00.000
          why        It ran when this epoch began.
          monitor    detached, epoch 1, since 2026-01-02 03:00:00.000
                     tcp:127.0.0.1:4444
                     connection refused
          job        m5 mirror: running? since 2026-01-02 02:00:00.000
        ");
        insta::assert_snapshot!(page(2), @r"
        new
          state      connecting
          why        no such file\u001b[2J
          monitor    connecting, since 2026-01-02 03:00:00.000
                     unix:/run/new.sock
        ");
        insta::assert_snapshot!(page(4), @r"
        nas
          state      running? since 2026-01-01 00:00:00.000
          why        It ran when this epoch began.
          monitor    attached, epoch 2, since 2026-01-02 03:00:00.000
                     its monitor has not answered since 2026-01-02 03:04:05.678: its process 28556 is stopped, by SIGSTOP or a debugger
                     unix:/run/nas.sock
        ");
        insta::assert_snapshot!(page(3), @r"
        100
          state      in-use
          why        give the VM another
          monitor    in-use (held), epoch 1, since 2026-01-02 03:00:00.000
                     unix:/var/run/qemu-server/100.qmp
          from       discovery rule 1 (proxmox)
        ");
    }
}

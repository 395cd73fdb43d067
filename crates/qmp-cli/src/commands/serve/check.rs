//! `qmp serve --check-config`: reports what would be served, and the faults, without starting anything.

use qmp_daemon::DaemonConfig;
use qmp_hub::SilentAfter;
use qmp_journal::Retention;
use qmp_settings::span;

use crate::exit::Exit;
use crate::output;

/// So many VMs, relays or rules are listed; of more, only the number.
pub(super) const LISTED_MAX: usize = 10;

/// Prints what would be served on the standard output, and warnings on the standard error.
pub fn check(config: &DaemonConfig) -> Exit {
    // If the summary cannot be written, the exit code still counts.
    let _ = output::print(&summary(config));
    for warning in config.warnings() {
        output::note(format_args!("warning: {warning}"));
    }
    Exit::Done
}

fn summary(config: &DaemonConfig) -> String {
    let mut text = "the configuration is good\n".to_owned();
    let mut line = |name: &str, value: String| text += &format!("  {name:<10}{value}\n");
    line("journal", config.journal.display().to_string());
    line("keeps", keeps(config.journal_options.retention));
    config.http.iter().for_each(|address| line("serves", address.to_string()));
    if !config.findings {
        line("findings", "are not recorded".into());
    }
    line("silence", silence(config.silent_after));
    for (name, address) in config.attach.iter().take(LISTED_MAX) {
        let own = config.silent_after_of.get(name).map(|own| format!("  (silence {})", silence(*own)));
        line("vm", format!("{name}  {address}{}", own.unwrap_or_default()));
        let of_vm = config.relays.iter().filter(|(of, _)| of == name);
        of_vm.for_each(|(_, relay)| line("  relay", format!("  {}", relay.path.display())));
    }
    config.from.iter().for_each(|source| line("reads", source.to_string()));
    config.discover.iter().for_each(|rule| line("discovers", rule.to_string()));
    config.rules.iter().for_each(|rule| line("rule", format!("{}  {}", rule.name(), rule.description())));
    let (vms, relays) = (counted(config.attach.len(), "VM"), counted(config.relays.len(), "relay"));
    text + &format!("  {vms}, {relays}, {}\n", counted(config.rules.len(), "rule"))
}

fn silence(silent_after: SilentAfter) -> String {
    match silent_after {
        SilentAfter::Off => "is not reported".into(),
        SilentAfter::Span(_) => format!("is reported after {silent_after} and a probe"),
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn keeps(retention: Retention) -> String {
    let age = retention.max_age.map(|age| span::describe(u64::try_from(age.as_micros()).unwrap_or(u64::MAX)));
    let size = retention.max_bytes.map(|bytes| format!("{} MiB", bytes >> 20));
    match (age, size) {
        (None, None) => "everything".into(),
        (Some(age), None) => format!("records of the last {age}"),
        (None, Some(size)) => format!("at most {size}"),
        (Some(age), Some(size)) => format!("records of the last {age}, at most {size}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use qmp_daemon::{CommandLine, ConfigFile};

    use super::*;

    #[test]
    fn summary_has_what_would_be_served() {
        let file = "findings = false\nretention = {max-age = '90d', max-size = '1GiB'}\n[[vm]]\nname = 'web1'\n\
                    address = '/run/web1.sock'\nrelay = ['/run/r1', '/run/r2']\n[[vm]]\nname = 'db1'\naddress = 'tcp:[::1]:4444'\nsilent-after = 'off'\n
                    [[discover]]\nglob = '/run/vm/*.sock'\nonly = ['web*', 'db?']\nexclude = ['web-test']\nsilent-after = '10s'\n[[rule]]\nname = 'log'\nfile = '/f'";
        insta::assert_snapshot!(shown(file), @r"
        the configuration is good
          journal   /var/j.db
          keeps     records of the last 90 d, at most 1024 MiB
          serves    unix:/run/h.sock
          findings  are not recorded
          silence   is reported after 30 s and a probe
          vm        web1  unix:/run/web1.sock
            relay     /run/r1
            relay     /run/r2
          vm        db1  tcp:[::1]:4444  (silence is not reported)
          discovers /run/vm/*.sock  only web*, db?  not web-test  silence is reported after 10 s
          discovers processes
          rule      log  file /f
          2 VMs, 2 relays, 1 rule
        ");
    }

    fn shown(file: &str) -> String {
        let command_line = CommandLine {
            attach: Vec::new(),
            discover: vec!["processes".parse().unwrap()],
            from: Vec::new(),
            journal: None,
            http: Vec::new(),
            relay: None,
            default_journal: "/var/j.db".into(),
            default_http: "/run/h.sock".parse().unwrap(),
        };
        let file = ConfigFile::parse(file, Path::new("hub.toml")).unwrap();
        summary(&DaemonConfig::assemble(Some(file), command_line).unwrap())
    }
}

//! The text that is printed when a hub is started by hand.

use qmp_client::Address;
use qmp_http::{HttpAddress, HttpEndpoint};
use qmp_hub::VmName;
use qmp_hub::relay::RelayStatus;

use super::check::LISTED_MAX;
use crate::hub::HubAddress;
use crate::render::Palette;

/// The services of a hub.
pub(super) struct StartupText<'a> {
    pub(super) journal: &'a std::path::Path,
    pub(super) http: &'a [HttpEndpoint],
    pub(super) vms: &'a [(VmName, Address)],
    pub(super) relays: &'a [RelayStatus],
    pub(super) discovery: &'a [String],
    /// Names and descriptions.
    pub(super) rules: &'a [(String, String)],
    /// Whether VMs may take commands: domains through libvirt take none, unless that is configured.
    pub(super) takes_commands: bool,
    /// In a demonstration, the number of records that were written before.
    pub(super) demo_history: Option<u64>,
}

impl StartupText<'_> {
    pub(super) fn text(&self, palette: Palette, default_hub: &HubAddress) -> String {
        let mut text = format!("{} {}\n", palette.bold("qmp hub"), env!("CARGO_PKG_VERSION"));
        let mut line =
            |name: &str, value: &str| text += &format!("  {}{value}\n", palette.dim(format!("{name:<9}")));
        for page in self.http.iter().filter_map(page) {
            line("page", &page);
        }
        line("journal", &self.journal.display().to_string());
        if let Some(records @ 1..) = self.demo_history {
            line("history", &format!("{records} records of emulated machines, invented"));
        }
        for address in self.http {
            let token = if address.token_file().is_some() { "  with a token" } else { "" };
            line("serving", &format!("{address}{token}"));
        }
        let width = self.vms.iter().map(|(name, _)| name.as_str().len()).max().unwrap_or(0);
        for (name, address) in self.vms.iter().take(LISTED_MAX) {
            line("vm", &format!("{:width$}  {address}", name.as_str()));
        }
        if self.vms.len() > LISTED_MAX {
            line("", &format!("and {} more", self.vms.len() - LISTED_MAX));
        }
        for what in self.discovery {
            line("discover", what);
        }
        for relay in self.relays.iter().take(LISTED_MAX) {
            line(
                "relay",
                &format!(
                    "{:width$}  {}  {}{}",
                    relay.vm,
                    relay.path.display(),
                    relay.role,
                    not_served(relay)
                ),
            );
        }
        if self.relays.len() > LISTED_MAX {
            line("", &format!("and {} more", self.relays.len() - LISTED_MAX));
        }
        let width = self.rules.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, description) in self.rules.iter().take(LISTED_MAX) {
            line("rule", &format!("{name:width$}  {description}"));
        }
        if self.rules.len() > LISTED_MAX {
            line("", &format!("and {} more", self.rules.len() - LISTED_MAX));
        }
        let hub = match self.http.iter().find(|endpoint| endpoint.tls().is_none()).or(self.http.first()) {
            Some(endpoint) if endpoint.tls().is_some() => format!(" --hub {}", anywhere(endpoint)),
            Some(endpoint) if endpoint.to_string() != default_hub.to_string() => format!(" --hub {endpoint}"),
            _ => String::new(),
        };
        let vm = self.vms.first().map_or("NAME", |(name, _)| name.as_str());
        let mut commands = vec![
            (format!("qmp top{hub}"), "all VMs on the whole screen"),
            (format!("qmp tail{hub}"), "what happens now"),
            (format!("qmp log{hub}"), "what happened"),
        ];
        if self.takes_commands {
            commands.push((format!("qmp exec{hub} {vm} query-status"), "send a command to a VM"));
        }
        if self.demo_history.is_some() {
            commands.push((format!("qmp exec{hub} {vm} x-guest-panic"), "make its guest panic"));
            commands.push((format!("qmp wait{hub} {vm} RESET --keep-waiting"), "wait for an event"));
        }
        let width = commands.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
        text += "\nNext, in another terminal:\n";
        for (command, what) in commands {
            text += &format!("  {command:width$}   {}\n", palette.dim(what));
        }
        text + "Ctrl-C stops the hub.\n"
    }
}

/// The address of the page for a browser of this host, which needs a port without TLS.
fn page(endpoint: &HttpEndpoint) -> Option<String> {
    match endpoint.address() {
        HttpAddress::Tcp(port) if endpoint.tls().is_none() => Some(format!("http://{port}/")),
        _ => None,
    }
}

/// The address for clients: the certificate determines the name of the host.
fn anywhere(endpoint: &HttpEndpoint) -> String {
    let address = endpoint.to_string();
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    format!("https://HOST:{port}")
}

fn not_served(relay: &RelayStatus) -> &'static str {
    if relay.error.is_some() { "  not served: the log says why" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_text_has_the_next_commands() {
        let vms = [
            ("web1".parse().unwrap(), "unix:/run/web1.sock".parse().unwrap()),
            ("db".parse().unwrap(), "tcp:localhost:4444".parse().unwrap()),
        ];
        let http = ["unix:/run/h.sock".parse().unwrap(), "tcp:127.0.0.1:80".parse().unwrap()];
        let rules = [("page", "run /usr/local/bin/page"), ("archive", "file /var/log/q.jsonl")];
        let rules = rules.map(|(name, description)| (name.to_owned(), description.to_owned()));
        let found: HubAddress = "unix:/run/h.sock".parse().unwrap();
        let text = |http: &[HttpEndpoint], takes_commands: bool| {
            StartupText {
                journal: "/var/j.db".as_ref(),
                http,
                vms: &vms,
                relays: &[],
                discovery: &["processes".into()],
                rules: &rules,
                takes_commands,
                demo_history: None,
            }
            .text(Palette::new(false), &found)
        };
        assert!(!text(&http, false).contains("qmp exec"), "no VM takes commands");
        insta::assert_snapshot!(text(&http, true), @r##"
qmp hub 0.1.0
  page     http://127.0.0.1:80/
  journal  /var/j.db
  serving  unix:/run/h.sock
  serving  tcp:127.0.0.1:80
  vm       web1  unix:/run/web1.sock
  vm       db    tcp:localhost:4444
  discover processes
  rule     page     run /usr/local/bin/page
  rule     archive  file /var/log/q.jsonl

Next, in another terminal:
  qmp top                      all VMs on the whole screen
  qmp tail                     what happens now
  qmp log                      what happened
  qmp exec web1 query-status   send a command to a VM
Ctrl-C stops the hub.
"##);
        insta::assert_snapshot!(text(&http[1..], true), @r##"
qmp hub 0.1.0
  page     http://127.0.0.1:80/
  journal  /var/j.db
  serving  tcp:127.0.0.1:80
  vm       web1  unix:/run/web1.sock
  vm       db    tcp:localhost:4444
  discover processes
  rule     page     run /usr/local/bin/page
  rule     archive  file /var/log/q.jsonl

Next, in another terminal:
  qmp top --hub tcp:127.0.0.1:80                      all VMs on the whole screen
  qmp tail --hub tcp:127.0.0.1:80                     what happens now
  qmp log --hub tcp:127.0.0.1:80                      what happened
  qmp exec --hub tcp:127.0.0.1:80 web1 query-status   send a command to a VM
Ctrl-C stops the hub.
"##);
    }
}

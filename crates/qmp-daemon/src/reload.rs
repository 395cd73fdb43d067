//! Reload: a running hub applies another configuration; parts without a difference are not disturbed.
//!
//! A VM that is the same in both keeps its connection and its epoch, even if its relays differ. A VM whose address differs
//! is removed and followed anew. VMs of discovery or of the program are not part of the configuration, and stay.

use std::collections::HashMap;

use qmp_client::Address;
use qmp_hub::relay::RelayConfig;
use qmp_hub::{RegisteredVm, VmName, VmOrigin, VmRegistryError};
use qmp_sinks::{Changes, RulesError};

use crate::config::DaemonConfig;
use crate::daemon::Daemon;
use crate::restart_only::RestartOnlySettings;

/// The outcome of a reload.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ReloadReport {
    /// VMs that were added.
    pub added: Vec<VmName>,
    /// VMs that were removed.
    pub removed: Vec<VmName>,
    /// VMs that were removed, and are followed anew with another address.
    pub changed: Vec<VmName>,
    /// VMs whose relays differ; their epochs continue.
    pub relayed: Vec<VmName>,
    /// VMs for which a step failed, with the error.
    pub refused: Vec<(VmName, VmRegistryError)>,
    /// Keys of the configuration that differ and take effect only at a restart of the hub.
    pub unchangeable: Vec<&'static str>,
    /// Whether the retention differs.
    pub retention: bool,
    /// Whether the rules of discovery differ.
    pub discovery: bool,
    /// Whether the times without a message before a probe differ.
    pub silence: bool,
    /// The changes of the rules.
    pub rules: Changes,
    /// The error for which the rules were not replaced.
    pub rules_refused: Option<RulesError>,
    /// The error for which the hub has the states of the rules before.
    pub state_rules_refused: Option<RulesError>,
}

/// The steps for the VMs.
#[derive(Debug, Default)]
struct Differences {
    removals: Vec<(VmName, &'static str)>,
    additions: Vec<(VmName, Address, Vec<RelayConfig>, VmOrigin)>,
    relay_changes: Vec<(VmName, Vec<RelayConfig>)>,
}

impl Daemon {
    /// Applies another configuration. Failed steps are reported, and the remaining steps are done all the same.
    pub async fn reload(&self, mut config: DaemonConfig) -> ReloadReport {
        let registry = self.registry();
        let mut report = ReloadReport {
            unchangeable: self.restart_only().differences(&RestartOnlySettings::new(&config)),
            ..ReloadReport::default()
        };
        report.retention = self.journal().retention() != config.journal_options.retention;
        if report.retention {
            self.journal().retain(config.journal_options.retention);
        }
        report.discovery = self.discover(config.discover.clone()).await;
        report.silence = self.hub().set_silent_after(config.silent_after, &config.silent_after_of).await;
        let on_states = self.rules().state_rules(&config.rules);
        match self.rules().replace(std::mem::take(&mut config.rules)).await {
            Ok(changes) => {
                report.rules = changes;
                // A rule that returns may have alerts from before the hub's start.
                match self.rules().open_alerts().await {
                    Ok(open) => self.hub().set_state_rules(on_states, open),
                    Err(error) => report.state_rules_refused = Some(error),
                }
            }
            Err(error) => report.rules_refused = Some(error),
        }
        let silent_after_of = std::mem::take(&mut config.silent_after_of);
        let differences = differences(&registry.list(), config);
        for (name, why) in differences.removals {
            match registry.remove(name.as_str(), &format!("the configuration was reloaded: {why}")).await {
                Ok(()) => report.removed.push(name),
                Err(error) => report.refused.push((name, error)),
            }
        }
        for (name, relays) in differences.relay_changes {
            match registry.set_relays(name.as_str(), relays).await {
                Ok(()) => report.relayed.push(name),
                Err(error) => report.refused.push((name, error)),
            }
        }
        for (name, address, relays, origin) in differences.additions {
            let mut members = registry.list().into_iter();
            if members.any(|vm| vm.name == name && matches!(vm.origin, VmOrigin::Discovered(_))) {
                // Discovery found it under the configured name: the VM continues with the configured origin.
                let _ = registry.remove(name.as_str(), "the configuration names it").await;
            }
            let silent_after = silent_after_of.get(&name).copied();
            let follow = registry.follow(address);
            if let Err(error) =
                registry.add_followed(name.clone(), follow, relays, origin, silent_after).await
            {
                report.refused.push((name, error));
                continue;
            }
            match report.removed.iter().position(|removed| *removed == name) {
                Some(index) => report.changed.push(report.removed.remove(index)),
                None => report.added.push(name),
            }
        }
        report
    }
}

impl ReloadReport {
    /// Whether the reload changed nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let vms = [&self.added, &self.removed, &self.changed, &self.relayed];
        vms.iter().all(|vms| vms.is_empty())
            && self.refused.is_empty()
            && self.unchangeable.is_empty()
            && !self.retention
            && !self.discovery
            && !self.silence
            && self.rules.is_nothing()
            && self.rules_refused.is_none()
            && self.state_rules_refused.is_none()
    }
}

fn differences(now: &[RegisteredVm], config: DaemonConfig) -> Differences {
    let mut relays: HashMap<VmName, Vec<RelayConfig>> = HashMap::new();
    for (name, relay) in config.relays {
        relays.entry(name).or_default().push(relay);
    }
    let mut next: HashMap<VmName, (Address, Vec<RelayConfig>)> = HashMap::new();
    let mut order = Vec::with_capacity(config.attach.len());
    for (name, address) in config.attach {
        let relays = relays.remove(&name).unwrap_or_default();
        order.push(name.clone());
        next.insert(name, (address, relays));
    }
    let mut differences = Differences::default();
    for member in now {
        if !matches!(member.origin, VmOrigin::Configuration | VmOrigin::CommandLine) {
            continue;
        }
        let why = match next.get_mut(&member.name) {
            None => "the VM is no longer in it",
            Some((address, _)) if *address != member.address => "the VM has another address",
            Some((_, relays)) => {
                let relays = std::mem::take(relays);
                next.remove(&member.name);
                let more = relays.iter().any(|relay| !member.relays.contains(relay));
                // VMs that only lose relays come first: others may need those sockets.
                if more {
                    differences.relay_changes.push((member.name.clone(), relays));
                } else if relays.len() < member.relays.len() {
                    differences.relay_changes.insert(0, (member.name.clone(), relays));
                }
                continue;
            }
        };
        differences.removals.push((member.name.clone(), why));
    }
    for name in order {
        if let Some((address, relays)) = next.remove(&name) {
            let origin = config.origins.get(&name).cloned().unwrap_or(VmOrigin::Program);
            // VMs of the program stay; adding them would fail because the name is in use.
            if origin != VmOrigin::Program || !now.iter().any(|member| member.name == name) {
                differences.additions.push((name, address, relays, origin));
            }
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name=address` or `name=address+relay`; brackets around the name mark a VM of discovery.
    fn member(text: &str) -> RegisteredVm {
        let (name, rest) = text.split_once('=').expect("name=address");
        let (address, relay) =
            rest.split_once('+').map_or((rest, None), |(address, relay)| (address, Some(relay)));
        let discovered = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        RegisteredVm {
            name: discovered.unwrap_or(name).parse().expect("a name"),
            address: address.parse().expect("an address"),
            origin: discovered.map_or(VmOrigin::Configuration, |_| VmOrigin::Discovered("rule 1".into())),
            relays: relay.map(RelayConfig::new).into_iter().collect(),
        }
    }

    #[test]
    fn reload_changes_only_vms_that_differ() {
        //  now                          next                            steps
        let cases: [(&[&str], &[&str], &str); 10] = [
            (&["a=/a", "b=/b"], &["a=/a", "b=/b"], ""),
            (&["a=/a", "b=/b"], &["b=/b", "a=/a"], ""),
            (&["a=/a"], &["a=/a", "b=/b", "c=/c"], "+b +c"),
            (&["a=/a", "b=/b"], &["b=/b"], "-a (the VM is no longer in it)"),
            (&["a=/a"], &["a=/z"], "-a (the VM has another address) +a"),
            (&["a=/a"], &["a=/a+/r"], "a at /r"),
            (&["a=/a+/r"], &["a=/a"], "a at nothing"),
            (&["a=/a", "b=/b+/r"], &["a=/a+/r", "b=/b"], "b at nothing a at /r"),
            (&["a=/a+/r"], &["a=/a+/r"], ""),
            (&["[a]=/a", "b=/b"], &["b=/b"], ""),
        ];
        for (now, next, expected) in cases {
            assert_eq!(steps(now, next), expected, "{now:?} {next:?}");
        }
    }

    fn steps(now: &[&str], next: &[&str]) -> String {
        let now: Vec<RegisteredVm> = now.iter().map(|text| member(text)).collect();
        let mut config = DaemonConfig::new("/j.db");
        for RegisteredVm { name, address, origin, relays, .. } in next.iter().map(|text| member(text)) {
            config.origins.insert(name.clone(), origin);
            config.relays.extend(relays.into_iter().map(|relay| (name.clone(), relay)));
            config.attach.push((name, address));
        }
        let found = differences(&now, config);
        let leave = found.removals.iter().map(|(name, why)| format!("-{name} ({why})"));
        let follow = found.additions.iter().map(|(name, ..)| format!("+{name}"));
        let relay = found.relay_changes.iter().map(|(name, relays)| match relays.as_slice() {
            [] => format!("{name} at nothing"),
            relays => format!("{name} at {}", relays[0].path.display()),
        });
        leave.chain(follow).chain(relay).collect::<Vec<_>>().join(" ")
    }
}

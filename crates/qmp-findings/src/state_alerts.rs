//! Rules on states: which VM has been in which state for how long.
//!
//! An alert is raised when a VM has been in one state of a rule for the rule's time, and is resolved when the VM is in none
//! of the rule's states. In between, another state of the rule raises no second alert. A state that is not known raises and
//! resolves nothing: the hub's own absence is no change of the VM. A VM that the hub does not follow any more raises nothing, and
//! its alerts are resolved; so are those of a VM that its rule does not select any more.
//!
//! VMs of other hosts have the time of their host, which is known as far as the host was heard: a host that is not heard
//! raises nothing, because its VMs may be in another state.
//!
//! [`StateAlerts`] is pure: states and times are arguments, findings are the output. The caller keeps the open alerts, and
//! restores them at its next start.

mod spell;
mod findings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use qmp_wire::{QualifiedName, UnixMicros};

use crate::condition::Condition;
use crate::finding::Finding;
use findings::{Resolution, raised, resolved};
use spell::{Progress, Spell, later};
pub use spell::{StateRule, StateRuleScope};

/// How long a VM is not followed before its alerts are resolved: another source may follow it at once.
const LEFT_AFTER: Duration = Duration::from_secs(5);

/// The same for a VM with an alert from before the start: the hub has to find it first.
const RESTORED_LEFT_AFTER: Duration = Duration::from_secs(300);

/// An alert that is not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAlert {
    /// The name of the rule.
    pub rule: Box<str>,
    /// The VM.
    pub vm: Box<str>,
    /// The state.
    pub state: Box<str>,
    /// When the state began.
    pub since: UnixMicros,
}

/// Raises and resolves the alerts of all rules.
#[derive(Debug, Default)]
pub struct StateAlerts {
    rules: Vec<StateRule>,
    /// The names of these rules and of those before them, whose alerts are all known.
    known_rules: BTreeSet<Box<str>>,
    /// By VM and name of the rule.
    spells: BTreeMap<Box<str>, BTreeMap<Box<str>, Spell>>,
    /// The VMs among them that are not followed, with the times at which they have left.
    leaving: BTreeMap<Box<str>, UnixMicros>,
    output: VecDeque<Finding>,
}

impl StateAlerts {
    /// Replaces the rules. Alerts that are not resolved stay open, also those of a removed rule: it may return. The caller
    /// must pass the state of each VM to [`observe`](Self::observe) again.
    ///
    /// `open` are alerts that were raised before the start. Those of rules that were set before are known, and are passed over.
    pub fn set_rules(&mut self, rules: Vec<StateRule>, open: Vec<OpenAlert>) {
        let is_known = |alert: &OpenAlert| self.known_rules.contains(&alert.rule);
        let unknown: Vec<OpenAlert> = open.into_iter().filter(|alert| !is_known(alert)).collect();
        unknown.into_iter().for_each(|alert| self.restore(alert));
        self.known_rules.extend(rules.iter().map(|rule| rule.name.clone()));
        self.rules = rules;
        for spells in self.spells.values_mut() {
            spells.retain(|_, spell| spell.progress == Progress::Raised);
        }
        self.spells.retain(|_, spells| !spells.is_empty());
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty()
    }

    /// The alerts that are raised at present, by VM and rule. An alert of a rule that was removed is not among them.
    pub fn raised(&self) -> impl Iterator<Item = OpenAlert> {
        let has_rule = |name: &str| self.rules.iter().any(|rule| *rule.name == *name);
        let all = self
            .spells
            .iter()
            .flat_map(|(vm, spells)| spells.iter().map(move |(rule, spell)| (vm, rule, spell)));
        let raised = all.filter(move |(_, rule, spell)| spell.progress == Progress::Raised && has_rule(rule));
        raised.map(|(vm, rule, spell)| OpenAlert {
            rule: rule.clone(),
            vm: vm.clone(),
            state: spell.state.clone(),
            since: spell.since,
        })
    }

    /// Takes which VMs are followed at `now` of this host. Call it before [`time_passed`](Self::time_passed) and after a VM of
    /// this host was removed.
    pub fn take_followed(&mut self, is_followed: impl Fn(&str) -> bool, now: UnixMicros) {
        self.leaving.retain(|vm, _| !is_followed(vm) && self.spells.contains_key(vm));
        for (vm, spells) in self.spells.iter_mut().filter(|(vm, _)| !is_followed(vm)) {
            spells.values_mut().for_each(Spell::hold);
            if !self.leaving.contains_key(vm) {
                let is_restored = spells.values().any(|spell| spell.cause.is_none());
                let after = if is_restored { RESTORED_LEFT_AFTER } else { LEFT_AFTER };
                self.leaving.insert(vm.clone(), later(now, after));
            }
        }
        let left: Vec<Box<str>> =
            self.leaving.iter().filter(|(_, at)| **at <= now).map(|(vm, _)| vm.clone()).collect();
        left.iter().for_each(|vm| self.resolve_left(vm, now));
    }

    /// Takes that the hub of another host removed a VM at `at` of that host. That is certain: another source of this hub will
    /// not follow it.
    pub fn removed(&mut self, vm: &str, at: UnixMicros) {
        self.vm_time_passed(vm, at);
        self.resolve_left(vm, at);
    }

    /// Takes the state of a VM at `now`; `None` if it is not known. Deadlines of the VM up to `now` expire before.
    pub fn observe(&mut self, vm: &str, condition: Option<&Condition>, now: UnixMicros) {
        self.vm_time_passed(vm, now);
        let mut spells = self.spells.remove(vm).unwrap_or_default();
        spells.retain(|name, spell| {
            let is_deselected = |rule: &StateRule| rule.name == *name && !rule.scope.selects(vm);
            if !self.rules.iter().any(is_deselected) {
                return true;
            }
            if spell.progress == Progress::Raised {
                self.output.push_back(resolved(vm, name, spell, &Resolution::NotSelected, now));
            }
            false
        });
        for rule in self.rules.iter().filter(|rule| rule.scope.selects(vm)) {
            let Some(condition) = condition.filter(|condition| rule.knows(condition)) else {
                spells.get_mut(&rule.name).into_iter().for_each(Spell::hold);
                continue;
            };
            if !rule.states.contains(&condition.state) {
                let ended = spells.remove(&rule.name).filter(|spell| spell.progress == Progress::Raised);
                let resolution = Resolution::State(condition);
                self.output.extend(ended.map(|spell| resolved(vm, &rule.name, &spell, &resolution, now)));
                continue;
            }
            match spells.get_mut(&rule.name) {
                Some(spell) if spell.progress == Progress::Raised => {}
                Some(spell) if spell.is(condition) => spell.go_on(condition, now),
                _ => drop(spells.insert(rule.name.clone(), Spell::begin(rule, condition, now))),
            }
        }
        if !spells.is_empty() {
            self.spells.insert(vm.into(), spells);
        }
        self.vm_time_passed(vm, now);
    }

    /// Takes the time at this host: every state of its VMs up to `now` was observed.
    pub fn time_passed(&mut self, now: UnixMicros) {
        let of_this_host = self.spells.iter().filter(|(vm, _)| host(vm).is_none());
        due(of_this_host, now).iter().for_each(|vm| self.vm_time_passed(vm, now));
    }

    /// Takes the time at another host: every state of its VMs up to `now` was observed.
    pub fn host_time_passed(&mut self, host: &str, now: UnixMicros) {
        let first = format!("{host}/");
        let from_first = self.spells.range::<str, _>((Bound::Included(&*first), Bound::Unbounded));
        let of_host = from_first.take_while(|(vm, _)| vm.starts_with(&first));
        due(of_host, now).iter().for_each(|vm| self.vm_time_passed(vm, now));
    }

    /// When [`time_passed`](Self::time_passed) or [`take_followed`](Self::take_followed) has an effect; `None` without a
    /// deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<UnixMicros> {
        let of_this_host = self.spells.iter().filter(|(vm, _)| host(vm).is_none());
        let of_spells = of_this_host.flat_map(|(_, spells)| spells.values()).filter_map(Spell::deadline);
        of_spells.chain(self.leaving.values().copied()).min()
    }

    /// The VMs that are in a state of a rule, or have an alert.
    pub fn vms(&self) -> impl Iterator<Item = &str> {
        self.spells.keys().map(|vm| &**vm)
    }

    /// The next finding.
    pub fn poll_output(&mut self) -> Option<Finding> {
        self.output.pop_front()
    }

    fn restore(&mut self, open: OpenAlert) {
        let OpenAlert { rule, vm, state, since } = open;
        let spell = Spell { state, since, cause: None, reason: Box::default(), progress: Progress::Raised };
        self.spells.entry(vm).or_default().insert(rule, spell);
    }

    fn resolve_left(&mut self, vm: &str, at: UnixMicros) {
        self.leaving.remove(vm);
        let spells = self.spells.remove(vm).unwrap_or_default();
        let raised = spells.iter().filter(|(_, spell)| spell.progress == Progress::Raised);
        self.output.extend(raised.map(|(rule, spell)| resolved(vm, rule, spell, &Resolution::Left, at)));
    }

    fn vm_time_passed(&mut self, vm: &str, now: UnixMicros) {
        let Some(spells) = self.spells.get_mut(vm) else { return };
        for rule in &self.rules {
            let Some(spell) = spells.get_mut(&rule.name) else { continue };
            while let Some(at) = spell.deadline().filter(|at| *at <= now) {
                match rule.scope.silenced_until(vm, at).filter(|until| *until > at) {
                    Some(until) => spell.progress = Progress::Waits(until),
                    None => {
                        spell.progress = Progress::Raised;
                        self.output.push_back(raised(vm, rule, spell, at));
                    }
                }
            }
        }
    }
}

/// The VMs with a deadline up to `now`.
fn due<'s>(
    spells: impl Iterator<Item = (&'s Box<str>, &'s BTreeMap<Box<str>, Spell>)>,
    now: UnixMicros,
) -> Vec<Box<str>> {
    let is_due = |spell: &Spell| spell.deadline().is_some_and(|at| at <= now);
    spells.filter(|(_, spells)| spells.values().any(is_due)).map(|(vm, _)| vm.clone()).collect()
}

/// The host of a VM of another host.
fn host(vm: &str) -> Option<&str> {
    QualifiedName::divide(vm).0
}

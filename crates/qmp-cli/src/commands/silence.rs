//! `qmp silence`: rules do not deliver the records of some VMs for a while, on record. Without VMs: the present silences.

use std::time::Duration;

use clap::Args;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::json;

use super::status::{local, silenced};
use crate::exit::{Exit, Failure};
use crate::hub::{HubArgs, HubClient, HubError, SilenceInfo};
use crate::output::{self, Format};
use crate::render::escape;
use crate::terminal::Terminal;
use crate::time::span;

/// Silence the rules for some VMs for a while, or list the silences
///
/// Rules do not deliver the records that these VMs cause until then, except rules that take every record: those that write a
/// file, and those without event, finding, kind, where, state and at-most. --rule silences the named rule, whatever it does. The
/// end of a state that a rule has reported (RESUME after STOP) is delivered. An alert that is due meanwhile is raised when the
/// silence is over, if the state lasts. The journal has the silence with the user who asked for it, and qmp status lists it. A
/// silence replaces the one for the same VMs and rule.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Silence {
    /// A VM, or a pattern of names, such as 'web*', also of VMs that start later; without it, the silences are listed
    #[arg(value_name = "VM|GLOB")]
    vms: Option<String>,

    /// Only this rule
    #[arg(long, value_name = "NAME", requires = "vms")]
    rule: Option<String>,

    /// How long, such as 2h; 31d at most
    #[arg(long = "for", value_name = "SPAN", value_parser = span::parse, requires = "vms")]
    lasts: Option<Duration>,

    /// Why
    #[arg(long, value_name = "TEXT", requires = "vms")]
    reason: Option<String>,

    /// End the silence of these VMs and this rule
    #[arg(long, requires = "vms", conflicts_with_all = ["lasts", "reason"])]
    end: bool,

    #[command(flatten)]
    format: Format,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  qmp silence web1 --for 2h --reason \"new disk\"
  qmp silence 'rack7-*' --rule page --for 30min --reason \"new switch\"
  qmp silence web1 --end
  qmp silence";

/// The hub's answer about a silence that begins or ends.
#[derive(Debug, Deserialize)]
struct Answer {
    until: String,
    /// The VMs that match at present.
    vms: Vec<String>,
    /// The silence that was replaced or ended. A hub of an earlier release does not say.
    replaced: Option<SilenceInfo>,
}

impl Silence {
    /// Begins or ends the silence, and prints it; without VMs, lists the silences.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let is_json = self.format.json || !terminal.stdout_is_terminal();
        let Some(vms) = &self.vms else { return self.list(&self.hub.client()?, is_json, terminal).await };
        let lasts = self.lasts()?;
        // The hub takes whole seconds.
        let seconds = lasts.as_secs() + u64::from(lasts.subsec_nanos() > 0);
        let mut request = json!({"vms": vms, "seconds": seconds});
        if let Some(rule) = &self.rule {
            request["rule"] = rule.as_str().into();
        }
        if let Some(reason) = &self.reason {
            request["reason"] = reason.as_str().into();
        }
        let answer = self.hub.client()?.silence(request.to_string()).await?;
        let read: Answer = serde_json::from_str(answer.get())
            .map_err(|error| HubError::NotAHub { what: format!("it sent {error}") })?;
        if is_json {
            output::print(&format!("{answer}\n"))?;
        } else {
            output::print(&self.confirmation(vms, &read, &self.format.zone(terminal)))?;
        }
        if read.vms.is_empty() && !self.end {
            output::note(format_args!(
                "note: no VM matches {vms:?} at present; the silence is for those that start until then"
            ));
        }
        Ok(Exit::Done)
    }

    /// How long the silence lasts; zero ends one.
    fn lasts(&self) -> Result<Duration, Failure> {
        if self.end {
            return Ok(Duration::ZERO);
        }
        let missing = |what: &str| Failure::usage(format_args!("a silence needs {what}; --end ends one"));
        let lasts = self.lasts.ok_or_else(|| missing("its length: --for SPAN, such as --for 2h"))?;
        if self.reason.is_none() {
            return Err(missing("its reason: --reason TEXT"));
        }
        if lasts.is_zero() {
            return Err(Failure::usage("--for: a silence lasts 1 s at least; --end ends one"));
        }
        Ok(lasts)
    }

    async fn list(&self, client: &HubClient, is_json: bool, terminal: &Terminal) -> Result<Exit, Failure> {
        if is_json {
            let silences = client.silences_json().await.map_err(HubError::without_address)?;
            let lines: String = silences.iter().map(|silence| format!("{silence}\n")).collect();
            output::print(&lines)?;
            return Ok(Exit::Done);
        }
        let silences = client.silences().await.map_err(HubError::without_address)?;
        let text = silenced(&silences, terminal.stdout_palette(), &self.format.zone(terminal));
        output::print(if text.is_empty() { "no rule is silenced\n" } else { &text })?;
        Ok(Exit::Done)
    }

    /// Says what was done, for people.
    fn confirmation(&self, vms: &str, answer: &Answer, zone: &TimeZone) -> String {
        let rule = self.rule.as_ref().map(|rule| format!(", rule {rule}")).unwrap_or_default();
        let until = local(&answer.until, zone);
        let mut text = match self.end {
            true => format!("the silence of {vms}{rule} is over"),
            false => format!("silenced {vms}{rule} until {until}"),
        };
        if let Some(replaced) = &answer.replaced {
            let did = if self.end { "it was" } else { "in place of the silence" };
            text += &format!(", {did} until {}: {}", local(&replaced.until, zone), replaced.reason);
        }
        format!("{}\n", escape::text(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmation_names_the_silence_that_was_replaced() {
        let silence = |end: bool, rule: Option<&str>| Silence {
            vms: Some("web*".into()),
            rule: rule.map(str::to_owned),
            lasts: None,
            reason: None,
            end,
            format: Format::default(),
            hub: HubArgs::default(),
        };
        let replaced = SilenceInfo {
            vms: "web*".into(),
            rule: None,
            until: "2026-01-02T05:04:05.678901Z".into(),
            reason: "new disk".into(),
            client: "uid 0".into(),
        };
        let answer =
            |replaced| Answer { until: "2026-01-02T03:04:05.678901Z".into(), vms: Vec::new(), replaced };
        let shown =
            |end, rule, replaced| silence(end, rule).confirmation("web*", &answer(replaced), &TimeZone::UTC);
        let lines = [
            shown(false, Some("page"), None),
            shown(false, None, Some(replaced.clone())),
            shown(true, None, Some(replaced)),
        ];
        insta::assert_snapshot!(lines.concat(), @r"
        silenced web*, rule page until 2026-01-02 03:04:05.678
        silenced web* until 2026-01-02 03:04:05.678, in place of the silence until 2026-01-02 05:04:05.678: new disk
        the silence of web* is over, it was until 2026-01-02 05:04:05.678: new disk
        ");
    }
}

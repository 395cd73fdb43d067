//! `qmp silence`: rules do not deliver the records of some VMs for a while, on record.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::hub::HubArgs;
use crate::output::{self, Format};
use crate::terminal::Terminal;
use crate::time::span;

/// Silence the rules for some VMs for a while
///
/// Rules do not deliver the records that these VMs cause until then, except rules that take every record (file, journald);
/// --rule silences the named rule, whatever it does. An alert that is due meanwhile is raised when the silence is over, if the
/// state lasts. The journal has the silence with the user who asked for it, and qmp status lists it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Silence {
    /// A VM, or a pattern of names, such as 'web*'
    #[arg(value_name = "VM|GLOB")]
    vms: String,

    /// Only this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,

    /// How long, such as 2h; 31d at most
    #[arg(long = "for", value_name = "SPAN", value_parser = span::parse, required_unless_present = "end")]
    lasts: Option<Duration>,

    /// Why
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    reason: Option<String>,

    /// End the silence of these VMs and this rule
    #[arg(long, conflicts_with_all = ["lasts", "reason"])]
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
  qmp silence web1 --end";

impl Silence {
    /// Begins or ends the silence, and prints it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let lasts = self.lasts.unwrap_or_default();
        // The hub takes whole seconds.
        let seconds = lasts.as_secs() + u64::from(lasts.subsec_nanos() > 0);
        let mut request = json!({"vms": self.vms, "seconds": seconds});
        if let Some(rule) = &self.rule {
            request["rule"] = rule.as_str().into();
        }
        if let Some(reason) = &self.reason {
            request["reason"] = reason.as_str().into();
        }
        let answer = self.hub.client()?.silence(request.to_string()).await?;
        if self.format.json || !terminal.stdout_is_terminal() {
            output::print(&format!("{answer}\n"))?;
        }
        Ok(Exit::Done)
    }
}

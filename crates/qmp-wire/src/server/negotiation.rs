//! `qmp_capabilities`, and the mode that it changes.

use super::reply::Refusal;
use super::request::Request;
use crate::dialect::{Object, Value, first_of};

/// The mode of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Negotiation,
    Command { out_of_band: bool },
}

pub(super) enum NegotiationResult {
    Done,
    Not(Request),
}

impl Mode {
    /// Runs `qmp_capabilities`; passes on any other command once negotiation is done.
    pub(super) fn negotiate(
        &mut self,
        request: Request,
        offers_oob: bool,
    ) -> Result<NegotiationResult, Refusal> {
        let negotiating = *self == Self::Negotiation;
        if request.command != "qmp_capabilities" {
            let desc = "Expecting capabilities negotiation with 'qmp_capabilities'";
            return if negotiating {
                Err(Refusal::command_not_found(desc))
            } else {
                Ok(NegotiationResult::Not(request))
            };
        }
        let out_of_band = requests_oob(&request.arguments)?;
        if !negotiating {
            let desc = "Capabilities negotiation is already complete, command ignored";
            return Err(Refusal::command_not_found(desc));
        }
        if out_of_band && !offers_oob {
            return Err(Refusal::generic("Capability oob not available"));
        }
        *self = Self::Command { out_of_band };
        Ok(NegotiationResult::Done)
    }
}

/// Reads the arguments of `qmp_capabilities`: whether out-of-band execution is requested.
fn requests_oob(arguments: &Object) -> Result<bool, Refusal> {
    let mut requests_oob = false;
    if let Some(enable) = arguments.get("enable") {
        let Value::List(capabilities) = enable else {
            return Err(Refusal::generic("Invalid parameter type for 'enable', expected: array"));
        };
        for (index, capability) in capabilities.iter().enumerate() {
            match capability {
                Value::String(name) if name == "oob" => requests_oob = true,
                Value::String(name) => {
                    return Err(Refusal::generic(format!("Parameter 'null' does not accept value '{name}'")));
                }
                _ => {
                    let desc = format!("Invalid parameter type for 'enable[{index}]', expected: string");
                    return Err(Refusal::generic(desc));
                }
            }
        }
    }
    if let Some(name) = first_of(arguments, |name| name != "enable") {
        return Err(Refusal::generic(format!("Parameter '{name}' is unexpected")));
    }
    Ok(requests_oob)
}

//! `qmp_capabilities`.

use super::Refusal;
use crate::dialect::{Object, Value, first_of};

/// Reads the arguments of `qmp_capabilities`: whether out-of-band execution is requested.
pub(super) fn requests_oob(arguments: &Object) -> Result<bool, Refusal> {
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

//! Requests: `{"execute": …, "arguments": …, "id": …}`, checked in QEMU's order.

use super::reply::Refusal;
use crate::dialect::{Object, Value};

/// A well-formed request; the embedder checks whether the command exists.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// The command's name.
    pub command: String,
    /// Its arguments; empty if there are none.
    pub arguments: Object,
    /// Whether the request is executed out of band (`exec-oob`).
    pub out_of_band: bool,
}

impl Request {
    /// Reads one value from a client; returns also the `id` for the reply, which an invalid request can have, too.
    ///
    /// # Errors
    ///
    /// The first [`Refusal`] in QEMU's order of checks, which is the order of the members in its hash table.
    pub fn read(value: Value, out_of_band: bool) -> (Option<Value>, Result<Self, Refusal>) {
        let Value::Object(mut members) = value else {
            return (None, Err(Refusal::generic("QMP input must be a JSON object")));
        };
        let request = Self::check(&members, out_of_band).map(|(command, out_of_band)| {
            let arguments = match members.take("arguments") {
                Some(Value::Object(arguments)) => arguments,
                _ => Object::default(),
            };
            Self { command, arguments, out_of_band }
        });
        (members.take("id"), request)
    }

    /// Returns the command's name, and whether it is executed out of band.
    fn check(members: &Object, oob_enabled: bool) -> Result<(String, bool), Refusal> {
        let mut command: Option<(&str, &str)> = None;
        for (name, value) in members.members() {
            match (name, value) {
                ("execute", value) | ("exec-oob", value) if name == "execute" || oob_enabled => {
                    let Value::String(text) = value else {
                        return Err(member(name, "must be a string"));
                    };
                    if let Some((earlier, _)) = command {
                        return Err(member(name, &format!("clashes with '{earlier}'")));
                    }
                    command = Some((name, text));
                }
                ("id", _) | ("arguments", Value::Object(_)) => {}
                ("arguments", _) => return Err(member(name, "must be an object")),
                _ => return Err(member(name, "is unexpected")),
            }
        }
        let (key, command) = command.ok_or_else(|| Refusal::generic("QMP input lacks member 'execute'"))?;
        Ok((command.to_owned(), key == "exec-oob"))
    }
}

fn member(name: &str, what: &str) -> Refusal {
    Refusal::generic(format!("QMP input member '{name}' {what}"))
}

//! Entries of the command table: arguments and return value of a command, its releases, and its function.

use std::sync::Arc;

use qmp_events::Release;
use qmp_server::{Command, EnumType, ObjectType, Refusal, Type, check_arguments, wrap_unsigned};
use qmp_wire::dialect;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    event::printable,
    refusals::generic,
    vm::{Run, Vm},
};

/// A command, and the releases that have it.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
    arguments: ObjectType,
    returns: Option<Type>,
    out_of_band: bool,
    in_preconfig: bool,
    since: Option<Release>,
    removed: Option<Release>,
}

impl Entry {
    /// Creates a command with the function `run`; `describe` adds its arguments.
    pub(crate) fn new<A: DeserializeOwned, R: Serialize>(
        name: &'static str,
        describe: impl FnOnce(ObjectType) -> ObjectType,
        run: impl Fn(&mut Vm, A) -> Result<R, Refusal> + Send + Sync + 'static,
    ) -> Self {
        let run = move |vm: &mut Vm, arguments: Value| {
            let arguments = A::deserialize(printable(&arguments)).map_err(generic)?;
            let mut value = serde_json::to_value(run(vm, arguments)?).map_err(generic)?;
            if value.is_null() {
                value = Value::Object(serde_json::Map::new());
            }
            Ok(value)
        };
        Self {
            name,
            run: Arc::new(run),
            arguments: describe(ObjectType::default()),
            returns: None,
            out_of_band: false,
            in_preconfig: false,
            since: None,
            removed: None,
        }
    }

    /// Creates a command without arguments.
    pub(crate) fn plain<R: Serialize>(
        name: &'static str,
        run: impl Fn(&mut Vm) -> Result<R, Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, |arguments| arguments, move |vm, qmp_server::NoArguments {}| run(vm))
    }

    /// Sets the first release that has the command.
    pub(crate) fn since(mut self, major: u16, minor: u16) -> Self {
        self.since = Some(Release::new(major, minor));
        self
    }

    /// Sets the first release that no longer has the command.
    pub(crate) fn removed(mut self, major: u16, minor: u16) -> Self {
        self.removed = Some(Release::new(major, minor));
        self
    }

    /// Declares the type of the return value for introspection.
    pub(crate) fn returns(mut self, ty: impl Into<Type>) -> Self {
        self.returns = Some(ty.into());
        self
    }

    /// Allows out-of-band execution.
    pub(crate) fn out_of_band(mut self) -> Self {
        self.out_of_band = true;
        self
    }

    /// Allows execution before the machine is ready.
    pub(crate) fn in_preconfig(mut self) -> Self {
        self.in_preconfig = true;
        self
    }

    /// Returns the command in the form in which the monitor registers it, without its function.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.name).takes(self.arguments.clone());
        if let Some(returns) = &self.returns {
            command = command.returns(returns.clone());
        }
        if self.out_of_band {
            command = command.allow_out_of_band();
        }
        if self.in_preconfig {
            command = command.allow_in_preconfig();
        }
        command
    }

    /// Returns the function of the command with a check of its arguments.
    pub(crate) fn checked(&self) -> Run {
        let (run, ty) = (Arc::clone(&self.run), self.arguments.clone());
        Arc::new(move |vm, arguments| {
            let dialect::Value::Object(mut arguments) = printable(&arguments) else {
                return run(vm, arguments);
            };
            check_arguments(&arguments, &ty)?;
            wrap_unsigned(&mut arguments, &ty);
            run(vm, serde_json::to_value(&arguments).map_err(generic)?)
        })
    }

    pub(crate) fn exists_in(&self, release: Release) -> bool {
        self.since.is_none_or(|since| release >= since)
            && self.removed.is_none_or(|removed| release < removed)
    }
}

/// Creates an enum type with the values listed in `words`.
pub(crate) fn one_of(name: &str, words: &str) -> Type {
    EnumType::new(name, words.split_whitespace()).into()
}

/// Adds the arguments listed in `words`: optional, and of any type.
pub(crate) fn optional_any(arguments: ObjectType, words: &str) -> ObjectType {
    words.split_whitespace().fold(arguments, |arguments, name| arguments.optional(name, Type::Any))
}

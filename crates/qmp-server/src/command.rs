//! Commands: arguments, return values, and the code that runs them.

use std::{fmt, sync::Arc};

use qmp_wire::{
    dialect::{Object, Value},
    server::{Refusal, Request},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    caller::Caller,
    check,
    panics::Hook,
    pending_command::{PendingCommand, return_text},
    types::{Member, ObjectType, Type},
};

/// The arguments of a command that has none.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct NoArguments {}

/// A command that a client can execute.
pub struct Command {
    pub(crate) name: Box<str>,
    pub(crate) arguments: ObjectType,
    pub(crate) returns: Arc<Type>,
    pub(crate) out_of_band: bool,
    pub(crate) features: Vec<&'static str>,
    pub(crate) in_preconfig: bool,
    pub(crate) disabled: Option<Box<str>>,
    pub(crate) replies: bool,
    /// Whether the monitor created it to list the others.
    pub(crate) is_listing: bool,
    run: Run,
}

type LoopFunction = Hook<dyn FnMut(&Caller, Object) -> Result<Vec<u8>, Refusal> + Send>;
type HandOverFunction = Hook<dyn FnMut(PendingCommand) + Send>;

enum Run {
    Nothing,
    /// Returns this text, which is not compared with the description.
    Text(Vec<u8>),
    OnLoop(LoopFunction),
    HandOver(HandOverFunction),
}

impl Command {
    /// Creates a command without arguments and without code that returns `{}`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            arguments: ObjectType::default(),
            returns: Arc::new(ObjectType::default().into()),
            out_of_band: false,
            features: Vec::new(),
            in_preconfig: false,
            disabled: None,
            replies: true,
            is_listing: false,
            run: Run::Nothing,
        }
    }

    /// Adds a mandatory argument.
    #[must_use]
    pub fn required(mut self, name: &str, ty: impl Into<Type>) -> Self {
        self.arguments.members.push(Member { name: name.into(), ty: ty.into(), optional: false });
        self
    }

    /// Adds an optional argument.
    #[must_use]
    pub fn optional(mut self, name: &str, ty: impl Into<Type>) -> Self {
        self.arguments.members.push(Member { name: name.into(), ty: ty.into(), optional: true });
        self
    }

    /// Adds the arguments of an object type, such as a union.
    #[must_use]
    pub fn takes(mut self, arguments: ObjectType) -> Self {
        self.arguments = arguments;
        self
    }

    /// Declares the type of the return value; without it, only `{}` is returned.
    ///
    /// The returned value is compared with the type: see [`Validation`](crate::Validation).
    #[must_use]
    pub fn returns(mut self, ty: impl Into<Type>) -> Self {
        self.returns = Arc::new(ty.into());
        self
    }

    /// Allows out-of-band execution: at once, before earlier commands.
    #[must_use]
    pub fn allow_out_of_band(mut self) -> Self {
        self.out_of_band = true;
        self
    }

    /// Allows execution before the machine is initialized: see
    /// [`MonitorBuilder::ready_when`](crate::MonitorBuilder).
    #[must_use]
    pub fn allow_in_preconfig(mut self) -> Self {
        self.in_preconfig = true;
        self
    }

    /// Marks the command as deprecated in `query-qmp-schema`.
    #[must_use]
    pub fn deprecated(mut self) -> Self {
        self.features.push("deprecated");
        self
    }

    /// Disables the command, with this reason.
    #[must_use]
    pub fn disabled(mut self, reason: &str) -> Self {
        self.disabled = Some(reason.into());
        self
    }

    /// Suppresses the reply on success.
    #[must_use]
    pub fn without_reply(mut self) -> Self {
        self.replies = false;
        self
    }

    /// Runs the command in the monitor's loop. Must not block: no client is served meanwhile.
    ///
    /// `A` is read from arguments that fit their description; events emitted by `run` precede the reply. If `A` is
    /// narrower than the description, the client gets an error for a value that only the description allows, and no
    /// report is made: describe the values that `A` accepts.
    #[must_use]
    pub fn run<A: DeserializeOwned, R: Serialize>(
        self,
        mut run: impl FnMut(A) -> Result<R, Refusal> + Send + 'static,
    ) -> Self {
        self.run_for(move |_, arguments| run(arguments))
    }

    /// Runs the command in the monitor's loop, like [`run`](Self::run), with the client that sent it.
    #[must_use]
    pub fn run_for<A: DeserializeOwned, R: Serialize>(
        mut self,
        mut run: impl FnMut(&Caller, A) -> Result<R, Refusal> + Send + 'static,
    ) -> Self {
        self.run = Run::OnLoop(Hook::new(Box::new(move |caller, arguments| {
            let arguments = A::deserialize(Value::Object(arguments))
                .map_err(|error| Refusal::generic(error.to_string()))?;
            return_text(&run(caller, arguments)?)
        })));
        self
    }

    /// Runs the command in the monitor's loop, like [`run`](Self::run), with untyped arguments.
    #[must_use]
    pub fn run_untyped<R: Serialize>(
        mut self,
        mut run: impl FnMut(Object) -> Result<R, Refusal> + Send + 'static,
    ) -> Self {
        self.run = Run::OnLoop(Hook::new(Box::new(move |_, arguments| return_text(&run(arguments)?))));
        self
    }

    /// Returns this text for any arguments.
    pub(crate) fn run_text(mut self, text: Vec<u8>) -> Self {
        self.run = Run::Text(text);
        self
    }

    /// Hands the command over, to be replied to later and from any thread: `accept` passes it to the embedder's own
    /// loop.
    ///
    /// The next in-band command of the same client waits for the reply; other clients do not.
    #[must_use]
    pub fn hand_over(mut self, accept: impl FnMut(PendingCommand) + Send + 'static) -> Self {
        self.run = Run::HandOver(Hook::new(Box::new(accept)));
        self
    }

    /// Checks whether the arguments and the state of the machine allow the command to run.
    pub(crate) fn check(&self, request: &Request, ready: bool) -> Result<(), Refusal> {
        let name = &self.name;
        if let Some(reason) = &self.disabled {
            return Err(Refusal::command_not_found(format!("Command {name} has been disabled: {reason}")));
        }
        if request.out_of_band && !self.out_of_band {
            return Err(Refusal::generic(format!("The command {name} does not support OOB")));
        }
        if !ready && !self.in_preconfig {
            let desc =
                format!("The command '{name}' is permitted only after machine initialization has completed");
            return Err(Refusal::generic(desc));
        }
        check::check_arguments(&request.arguments, &self.arguments)
    }

    /// Returns whether code of the embedder creates the return value.
    pub(crate) fn is_checked(&self) -> bool {
        matches!(self.run, Run::OnLoop(_))
    }

    /// Returns whether the command is handed over.
    pub(crate) fn is_handed_over(&self) -> bool {
        matches!(self.run, Run::HandOver(_))
    }

    /// Runs the command; returns `None` if it was handed over.
    pub(crate) fn execute(
        &mut self,
        caller: &Caller,
        arguments: Object,
        pending: impl FnOnce(Object) -> PendingCommand,
    ) -> Option<Result<Vec<u8>, Refusal>> {
        match &mut self.run {
            Run::Nothing => Some(Ok(b"{}".to_vec())),
            Run::Text(text) => Some(Ok(text.clone())),
            Run::OnLoop(run) => Some(run(caller, arguments)),
            Run::HandOver(accept) => {
                accept(pending(arguments));
                None
            }
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Command").field("name", &self.name).finish_non_exhaustive()
    }
}

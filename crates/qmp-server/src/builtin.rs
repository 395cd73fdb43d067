//! The commands that every monitor has.

use qmp_events::{RUN_STATES, Release, RunState, catalogue};
use qmp_wire::server::Profile;
use serde::Serialize;

use crate::{
    command::{Command, NoArguments},
    panics::Hook,
    types::{ObjectType, Type},
};

/// First and last release with each of the commands that did not always exist, or were removed.
///
/// Source: QEMU's history, and the replies of 7.2 and 11.1.
const QUERY_EVENTS_SINCE: Release = Release::new(1, 2);
const QUERY_EVENTS_REMOVED: Release = Release::new(6, 0);
const QUERY_EVENTS_DEPRECATED: Release = Release::new(4, 0);
const QUERY_QMP_SCHEMA_SINCE: Release = Release::new(2, 5);
const SINGLESTEP_REMOVED: Release = Release::new(9, 0);

/// The embedder's information about its machine.
pub(crate) struct Machine {
    pub(crate) name: Option<Box<str>>,
    pub(crate) uuid: Box<str>,
    pub(crate) run_state: Hook<dyn Fn() -> RunState + Send>,
}

#[derive(Serialize)]
struct Name {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Box<str>>,
}

#[derive(Serialize)]
struct Uuid {
    #[serde(rename = "UUID")]
    uuid: Box<str>,
}

#[derive(Serialize)]
struct Status {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    singlestep: Option<bool>,
    status: &'static str,
}

/// Returns the commands of a release, without those that list commands.
pub(crate) fn commands(release: Release, profile: &Profile, machine: Machine) -> Vec<Command> {
    let Machine { name, uuid, run_state } = machine;
    let mut commands = vec![capabilities(), version(profile)];
    let ty = ObjectType::new("NameInfo").optional("name", Type::Str);
    commands.push(constant("query-name", ty, Name { name }));
    let ty = ObjectType::new("UuidInfo").required("UUID", Type::Str);
    commands.push(constant("query-uuid", ty, Uuid { uuid }));
    commands.push(status(release, run_state));
    if (QUERY_EVENTS_SINCE..QUERY_EVENTS_REMOVED).contains(&release) {
        let names = catalogue().iter().filter(|desc| desc.exists_in(release)).map(|desc| desc.name);
        let command = list_of_names("query-events", "EventInfo", names);
        let deprecated = release >= QUERY_EVENTS_DEPRECATED;
        commands.push(if deprecated { command.deprecated() } else { command });
    }
    commands
}

/// The names of the commands that [`directory`] creates.
pub(crate) const DIRECTORY: [&str; 2] = ["query-commands", "query-qmp-schema"];

/// Returns the two commands that list commands, themselves included.
pub(crate) fn directory<'a>(
    release: Release,
    names: impl Iterator<Item = &'a str>,
    schema: impl FnOnce(&[Command]) -> Vec<u8>,
) -> Vec<Command> {
    let has_schema = release >= QUERY_QMP_SCHEMA_SINCE;
    let listings = ["query-commands"].into_iter().chain(has_schema.then_some("query-qmp-schema"));
    let mut commands = vec![list_of_names("query-commands", "CommandInfo", names.chain(listings))];
    if has_schema {
        let described =
            Command::new("query-qmp-schema").allow_in_preconfig().returns(Type::list(schema_info()));
        commands.push(described);
        let text = schema(&commands);
        if let Some(command) = commands.pop() {
            commands.push(command.run_text(text));
        }
    }
    commands
}

fn capabilities() -> Command {
    // The connection itself executes it; this entry is for introspection and for out-of-band execution.
    Command::new("qmp_capabilities")
        .allow_in_preconfig()
        .optional("enable", Type::list(Type::one_of("QMPCapability", ["oob"])))
}

fn version(profile: &Profile) -> Command {
    let numbers = ["major", "minor", "micro"];
    let triple =
        numbers.iter().fold(ObjectType::new("VersionTriple"), |ty, name| ty.required(name, Type::Int));
    let ty = ObjectType::new("VersionInfo").required("qemu", triple).required("package", Type::Str);
    constant("query-version", ty, profile.version_value())
}

fn status(release: Release, run_state: Hook<dyn Fn() -> RunState + Send>) -> Command {
    let singlestep = (release < SINGLESTEP_REMOVED).then_some(false);
    let mut ty = ObjectType::new("StatusInfo").required("running", Type::Bool);
    if singlestep.is_some() {
        ty = ty.required("singlestep", Type::Bool);
    }
    let ty = ty.required("status", Type::one_of("RunState", RUN_STATES.map(RunState::as_str)));
    Command::new("query-status").allow_in_preconfig().returns(ty).run(move |NoArguments {}| {
        let state = run_state();
        Ok(Status { running: state == RunState::Running, singlestep, status: state.as_str() })
    })
}

fn list_of_names<'a>(command: &str, ty: &str, names: impl Iterator<Item = &'a str>) -> Command {
    #[derive(Serialize)]
    struct Entry<'a> {
        name: &'a str,
    }
    let ty = Type::list(ObjectType::new(ty).required("name", Type::Str));
    let names: Vec<_> = names.map(|name| Entry { name }).collect();
    constant(command, ty, names)
}

/// Returns a command with a constant return value.
fn constant(name: &str, ty: impl Into<Type>, value: impl Serialize) -> Command {
    let mut text = Vec::new();
    // Strings, numbers and objects of them: serialization cannot fail.
    let _ = qmp_wire::dialect::write(&value, &[], &mut text);
    Command::new(name).allow_in_preconfig().returns(ty).run_text(text)
}

/// Returns a short form of the description of introspection itself: QEMU describes this reply, too.
fn schema_info() -> ObjectType {
    let kinds = ["builtin", "enum", "array", "object", "alternate", "command", "event"];
    ObjectType::new("SchemaInfo")
        .required("name", Type::Str)
        .required("meta-type", Type::one_of("SchemaMetaType", kinds))
        .optional("features", Type::list(Type::Str))
}

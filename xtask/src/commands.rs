//! Typed commands of `crates/qmp-client`, generated from `catalogue/commands/commands.toml`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::model::Catalogue;
use crate::names;
use crate::release::Release;

/// The table of commands.
const TABLE: &str = "catalogue/commands/commands.toml";

/// The release from which entries without `since` exist.
const FIRST: Release = Release { major: 0, minor: 14, micro: None };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    command: Vec<Command>,
    reply: Vec<Reply>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    name: String,
    since: Option<Release>,
    removed: Option<Release>,
    summary: String,
    /// The type of the reply; an object without members if absent.
    reply: Option<String>,
    /// The reply is a list of that type.
    #[serde(default)]
    list: bool,
    /// Arguments by other names are allowed; what they are.
    extra: Option<String>,
    #[serde(default)]
    argument: Vec<Argument>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    #[serde(default)]
    mandatory: bool,
    /// The first release in which a mandatory argument is optional.
    optional_since: Option<Release>,
    since: Option<Release>,
    removed: Option<Release>,
    summary: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    name: String,
    summary: String,
    member: Vec<Member>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    #[serde(default)]
    optional: bool,
    since: Option<Release>,
    summary: String,
}

/// Makes the text of the generated file, unformatted.
pub(crate) fn rust(root: &Path, catalogue: &Catalogue) -> Result<String> {
    let text = std::fs::read_to_string(root.join(TABLE)).with_context(|| format!("cannot read {TABLE}"))?;
    let table: Table = toml::from_str(&text).with_context(|| TABLE.to_owned())?;
    check(&table, catalogue)?;
    let mut out = String::from(
        "//! The typed commands of `catalogue/commands/commands.toml`, and the types of their replies.\n\n\
        use serde::{Deserialize, Serialize};\n\n\
        use qmp_events::Release;\n\n\
        use crate::typed::{ArgumentDesc, CommandDesc, Nothing, TypedCommand};\n\n",
    );
    let constants: Vec<String> = table.command.iter().map(description).collect();
    _ = writeln!(
        out,
        "/// The typed commands, in the order of the table.\npub const COMMANDS: &[CommandDesc] = &[{}];\n",
        constants.join(", ")
    );
    table.command.iter().for_each(|one| command(&mut out, one));
    table.reply.iter().for_each(|one| reply(&mut out, one));
    Ok(out)
}

/// Refuses a table that names a type, a command or a release that does not exist.
fn check(table: &Table, catalogue: &Catalogue) -> Result<()> {
    let mut names = BTreeSet::new();
    for one in &table.command {
        if !names.insert(&one.name) {
            bail!("{TABLE}: {} is listed twice", one.name);
        }
        let releases = one
            .argument
            .iter()
            .flat_map(|argument| [argument.since, argument.removed, argument.optional_since]);
        for release in releases.chain([one.since, one.removed]).flatten() {
            if !catalogue.releases.contains(&release) {
                bail!("{TABLE}: {} names {release}, which releases.toml lacks", one.name);
            }
        }
        if let Some(name) = &one.reply
            && !table.reply.iter().any(|reply| reply.name == *name)
        {
            bail!("{TABLE}: {} replies with {name}, which the table lacks", one.name);
        }
    }
    Ok(())
}

fn command(out: &mut String, one: &Command) {
    let name = names::variant(&one.name);
    let released = history(one.since.or(Some(FIRST)), one.removed);
    _ = writeln!(out, "/// `{}`: {}\n///\n/// {released}", one.name, lower_first(&one.summary));
    if one.argument.is_empty() {
        _ = writeln!(
            out,
            "#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]\n#[non_exhaustive]\npub struct {name} {{}}\n"
        );
    } else {
        _ = writeln!(
            out,
            "#[derive(Clone, Debug, PartialEq, Serialize)]\n#[non_exhaustive]\npub struct {name} {{"
        );
        one.argument.iter().for_each(|argument| argument_field(out, argument));
        if let Some(extra) = &one.extra {
            _ = writeln!(
                out,
                "/// {extra}\n#[serde(flatten)]\npub extra: serde_json::Map<String, serde_json::Value>,"
            );
        }
        out.push_str("}\n\n");
    }
    _ = writeln!(out, "impl {name} {{");
    constructor(out, one);
    one.argument.iter().filter(|argument| !argument.mandatory).for_each(|argument| setter(out, argument));
    if one.extra.is_some() {
        out.push_str(
            "\n/// Adds an argument by another name.\n#[must_use]\n\
            pub fn with(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {\n\
            self.extra.insert(name.into(), value.into());\nself\n}\n",
        );
    }
    let reply = match (&one.reply, one.list) {
        (None, _) => "Nothing".to_owned(),
        (Some(reply), false) => reply.clone(),
        (Some(reply), true) => format!("Vec<{reply}>"),
    };
    _ = writeln!(
        out,
        "}}\n\nimpl TypedCommand for {name} {{\ntype Reply = {reply};\nconst NAME: &'static str = {:?};\n}}\n",
        one.name
    );
}

fn argument_field(out: &mut String, argument: &Argument) {
    documented_field(out, &argument.name, &argument.summary, &history(argument.since, argument.removed));
    let (field, ty) = (names::field(&argument.name), rust_type(&argument.ty));
    if argument.mandatory {
        _ = writeln!(out, "pub {field}: {ty},");
    } else {
        _ = writeln!(out, "#[serde(skip_serializing_if = \"Option::is_none\")]\npub {field}: Option<{ty}>,");
    }
}

/// The comment of a field, and its name on the wire if that differs.
fn documented_field(out: &mut String, name: &str, summary: &str, released: &str) {
    let space = if released.is_empty() { "" } else { " " };
    _ = writeln!(out, "/// {summary}{space}{released}");
    if names::field(name).trim_start_matches("r#") != name {
        _ = writeln!(out, "#[serde(rename = {name:?})]");
    }
}

/// `new`, with the mandatory arguments as parameters.
fn constructor(out: &mut String, one: &Command) {
    let parameters: Vec<String> = one
        .argument
        .iter()
        .filter(|argument| argument.mandatory)
        .map(|argument| format!("{}: {}", names::field(&argument.name), parameter_type(&argument.ty)))
        .collect();
    let comment =
        if parameters.is_empty() { "The command." } else { "The command with its mandatory arguments." };
    _ = writeln!(
        out,
        "/// {comment}\n#[must_use]\npub fn new({}) -> Self {{\nSelf {{",
        parameters.join(", ")
    );
    for argument in &one.argument {
        let field = names::field(&argument.name);
        match (argument.mandatory, &*argument.ty) {
            (true, "str") => _ = writeln!(out, "{field}: {field}.into(),"),
            (true, _) => _ = writeln!(out, "{field},"),
            (false, _) => _ = writeln!(out, "{field}: None,"),
        }
    }
    if one.extra.is_some() {
        out.push_str("extra: serde_json::Map::new(),\n");
    }
    out.push_str("}\n}\n");
}

fn setter(out: &mut String, argument: &Argument) {
    let field = names::field(&argument.name);
    let into = if argument.ty == "str" { ".into()" } else { "" };
    _ = writeln!(
        out,
        "\n/// Sets `{}`.\n#[must_use]\npub fn {field}(mut self, value: {}) -> Self {{\nself.{field} = Some(value{into});\nself\n}}",
        argument.name,
        parameter_type(&argument.ty)
    );
}

fn reply(out: &mut String, one: &Reply) {
    _ = writeln!(
        out,
        "/// {}\n///\n/// Members that other releases add are ignored.\n\
        #[derive(Clone, Debug, PartialEq, Deserialize)]\n#[non_exhaustive]\npub struct {} {{",
        one.summary, one.name
    );
    for member in &one.member {
        documented_field(out, &member.name, &member.summary, &history(member.since, None));
        let (field, ty) = (names::field(&member.name), rust_type(&member.ty));
        if member.optional {
            _ = writeln!(out, "pub {field}: Option<{ty}>,");
        } else {
            _ = writeln!(out, "pub {field}: {ty},");
        }
    }
    out.push_str("}\n\n");
}

/// The description of one command, as an expression.
fn description(one: &Command) -> String {
    let arguments: Vec<String> = one
        .argument
        .iter()
        .map(|argument| {
            format!(
                "ArgumentDesc {{ name: {:?}, mandatory: {}, optional_since: {}, since: {}, removed: {} }}",
                argument.name,
                argument.mandatory,
                optional_release(argument.optional_since),
                release(argument.since.or(one.since).unwrap_or(FIRST)),
                optional_release(argument.removed),
            )
        })
        .collect();
    format!(
        "CommandDesc {{ name: {:?}, since: {}, removed: {}, arguments: &[{}], accepts_others: {} }}",
        one.name,
        release(one.since.unwrap_or(FIRST)),
        optional_release(one.removed),
        arguments.join(", "),
        one.extra.is_some(),
    )
}

fn release(release: Release) -> String {
    match release.micro {
        None => format!("Release::new({}, {})", release.major, release.minor),
        Some(micro) => format!("Release::stable({}, {}, {micro})", release.major, release.minor),
    }
}

fn optional_release(one: Option<Release>) -> String {
    one.map_or_else(|| "None".to_owned(), |one| format!("Some({})", release(one)))
}

/// `Since 3.0, removed in 9.1.`
fn history(since: Option<Release>, removed: Option<Release>) -> String {
    match (since, removed) {
        (None, None) => String::new(),
        (Some(since), None) => format!("Since {since}."),
        (None, Some(removed)) => format!("Removed in {removed}."),
        (Some(since), Some(removed)) => format!("Since {since}, removed in {removed}."),
    }
}

fn rust_type(ty: &str) -> String {
    match ty {
        "str" => "Box<str>".to_owned(),
        "bool" => "bool".to_owned(),
        "int" => "i64".to_owned(),
        "uint" => "u32".to_owned(),
        "JobType" | "JobStatus" | "MigrationStatus" => format!("qmp_events::{ty}"),
        other => other.to_owned(),
    }
}

fn parameter_type(ty: &str) -> String {
    if ty == "str" { "impl Into<Box<str>>".to_owned() } else { rust_type(ty) }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

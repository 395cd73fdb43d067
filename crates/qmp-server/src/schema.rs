//! The reply to `query-qmp-schema`: the events of the release, the registered commands, and the types of both.
//!
//! Type names are numbers without meaning, as in QEMU; those of commands follow those of events.

use std::collections::{BTreeMap, BTreeSet};

use qmp_events::{Release, introspection};
use qmp_wire::dialect::{Object, Value};

use crate::{
    command::Command,
    types::{AlternateType, EnumType, ObjectType, Type, Variants},
};

/// Source: QEMU 6.2 lists the values of enums as `members`, too.
const ENUM_MEMBERS_SINCE: Release = Release::new(6, 2);

/// Returns the text of the return value.
pub(crate) fn schema<'a>(
    release: Release,
    registered_events: &BTreeMap<Box<str>, ObjectType>,
    commands: impl Iterator<Item = &'a Command>,
) -> Vec<u8> {
    let Value::List(entries) = Value::read(introspection::schema_json(release).as_bytes()) else {
        return b"[]".to_vec();
    };
    let mut list = List::new(release, entries);
    for command in commands {
        list.command(command);
    }
    for (name, data) in registered_events {
        list.event(name, data);
    }
    let mut text = Vec::new();
    Value::List(list.entries).print(false, &mut text);
    text
}

struct List {
    release: Release,
    entries: Vec<Value>,
    /// Names in use: types of the events, and built-in ones.
    names: BTreeSet<String>,
    /// The numbers of the types of commands, by their QAPI names.
    numbers: BTreeMap<String, String>,
    next: u64,
}

impl List {
    fn new(release: Release, entries: Vec<Value>) -> Self {
        let names: BTreeSet<_> =
            entries.iter().filter_map(|entry| Some(text(entry, "name")?.to_owned())).collect();
        let next = names.iter().filter_map(|name| name.parse::<u64>().ok()).max().map_or(0, |last| last + 1);
        let mut numbers = BTreeMap::new();
        if let Some(name) =
            entries.iter().find(|entry| is_empty_object(entry)).and_then(|entry| text(entry, "name"))
        {
            numbers.insert(String::from("object "), name.to_owned());
        }
        Self { release, entries, names, numbers, next }
    }

    fn command(&mut self, command: &Command) {
        let mut entry = vec![
            ("name", string(&command.name)),
            ("meta-type", string("command")),
            ("arg-type", string(&self.object(&command.arguments, &format!("{} arguments", command.name)))),
            ("ret-type", string(&self.ty(&command.returns))),
        ];
        if command.out_of_band {
            entry.push(("allow-oob", Value::Bool(true)));
        }
        if !command.features.is_empty() {
            let features = command.features.iter().map(|feature| string(feature)).collect();
            entry.push(("features", Value::List(features)));
        }
        self.push(entry);
    }

    fn event(&mut self, name: &str, data: &ObjectType) {
        let data = string(&self.object(data, &format!("{name} data")));
        self.push(vec![("name", string(name)), ("meta-type", string("event")), ("arg-type", data)]);
    }

    fn ty(&mut self, ty: &Type) -> String {
        match ty {
            Type::Enum(ty) => self.one_of(ty),
            Type::Array(element) => {
                let element = self.ty(element);
                let name = format!("[{element}]");
                if self.names.insert(name.clone()) {
                    let kind = ("meta-type", string("array"));
                    self.push(vec![("name", string(&name)), kind, ("element-type", string(&element))]);
                }
                name
            }
            Type::Object(ty) => self.object(ty, ""),
            Type::Alternate(ty) => self.alternate(ty),
            builtin => self.builtin(builtin),
        }
    }

    fn builtin(&mut self, ty: &Type) -> String {
        let (name, json) = match ty {
            Type::Str => ("str", "string"),
            Type::Bool => ("bool", "boolean"),
            Type::Number => ("number", "number"),
            Type::Any => ("any", "value"),
            Type::Null => ("null", "null"),
            _ => ("int", "int"),
        };
        if self.names.insert(name.into()) {
            let kind = ("meta-type", string("builtin"));
            self.push(vec![("name", string(name)), kind, ("json-type", string(json))]);
        }
        name.into()
    }

    /// Returns the number of a type, and whether it still has to be described. A type without name uses
    /// `anonymous`.
    fn number(&mut self, kind: &str, name: &str, anonymous: &str) -> (String, bool) {
        let key = format!("{kind} {}", if name.is_empty() { anonymous } else { name });
        if let Some(number) = self.numbers.get(&key) {
            return (number.clone(), false);
        }
        let number = self.next.to_string();
        self.next += 1;
        self.numbers.insert(key, number.clone());
        (number, true)
    }

    fn object(&mut self, ty: &ObjectType, anonymous: &str) -> String {
        let is_empty = ty.members.is_empty() && ty.variants.is_none();
        let (name, anonymous) = if is_empty { ("", "") } else { (&*ty.name, anonymous) };
        let (number, fresh) = self.number("object", name, anonymous);
        if !fresh {
            return number;
        }
        let members = ty.members.iter().map(|member| {
            let mut entry = vec![("name", string(&member.name)), ("type", string(&self.ty(&member.ty)))];
            if member.optional {
                entry.push(("default", Value::Null));
            }
            object(entry)
        });
        let members = Value::List(members.collect());
        let mut entry =
            vec![("name", string(&number)), ("meta-type", string("object")), ("members", members)];
        if let Some(Variants { tag, branches }) = &ty.variants {
            let variants = branches.iter().map(|(case, branch)| {
                let ty = self.object(branch, &format!("{} {case}", ty.name));
                object(vec![("case", string(case)), ("type", string(&ty))])
            });
            entry.push(("variants", Value::List(variants.collect())));
            entry.push(("tag", string(tag)));
        }
        self.push(entry);
        number
    }

    fn one_of(&mut self, ty: &EnumType) -> String {
        let (number, fresh) = self.number("enum", &ty.name, "");
        if fresh {
            let values = Value::List(ty.values.iter().map(|value| string(value)).collect());
            let mut entry =
                vec![("name", string(&number)), ("meta-type", string("enum")), ("values", values)];
            if self.release >= ENUM_MEMBERS_SINCE {
                let members = ty.values.iter().map(|value| object(vec![("name", string(value))]));
                entry.push(("members", Value::List(members.collect())));
            }
            self.push(entry);
        }
        number
    }

    fn alternate(&mut self, ty: &AlternateType) -> String {
        let (number, fresh) = self.number("alternate", &ty.name, "");
        if fresh {
            let members = ty.types.iter().map(|ty| object(vec![("type", string(&self.ty(ty)))]));
            let members = Value::List(members.collect());
            self.push(vec![
                ("name", string(&number)),
                ("meta-type", string("alternate")),
                ("members", members),
            ]);
        }
        number
    }

    fn push(&mut self, members: Vec<(&str, Value)>) {
        self.entries.push(object(members));
    }
}

fn object(members: Vec<(&str, Value)>) -> Value {
    Value::Object(members.into_iter().collect::<Object>())
}

fn string(text: &str) -> Value {
    Value::String(text.into())
}

fn text<'a>(entry: &'a Value, member: &str) -> Option<&'a str> {
    match entry {
        Value::Object(entry) => match entry.get(member) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn is_empty_object(entry: &Value) -> bool {
    let Value::Object(members) = entry else { return false };
    text(entry, "meta-type") == Some("object")
        && members.get("variants").is_none()
        && members.get("members") == Some(&Value::List(Vec::new()))
}

//! The TypeScript types of the hub's HTTP interface, for the page: one for each schema of its `OpenAPI` document, and one
//! for each JSON response that has no name there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::Value;

/// The longest description beside a type, in characters; the document has the whole.
const COMMENT_MAX_CHARACTERS: usize = 160;

/// The types that `document` describes.
pub(crate) fn types(document: &str) -> Result<String> {
    let document: Value = serde_json::from_str(document).context("the OpenAPI document")?;
    let mut named: BTreeMap<String, &Value> =
        members(&document["components"]["schemas"]).map(|(name, schema)| (name.clone(), schema)).collect();
    for operation in
        members(&document["paths"]).flat_map(|(_, path)| members(path)).map(|(_, operation)| operation)
    {
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        if let Some(id) = operation["operationId"].as_str()
            && !schema.is_null()
        {
            named.insert(format!("{}Response", capitalized(id)), schema);
        }
    }
    let mut text =
        String::from("// Written by `cargo xtask codegen` from crates/qmp-http/src/openapi.json.\n");
    for (name, schema) in named {
        text.push('\n');
        comment(&mut text, schema, 0);
        let _ = writeln!(text, "export type {name} = {};", type_of(schema, 0));
    }
    Ok(text)
}

/// The members of an object, by name: the order in the document has no meaning.
fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let sorted: BTreeMap<&String, &Value> = object.as_object().into_iter().flatten().collect();
    sorted.into_iter()
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn comment(text: &mut String, schema: &Value, depth: usize) {
    let Some(description) = schema["description"].as_str().filter(|description| !description.is_empty())
    else {
        return;
    };
    let mut shown: String = description.chars().take(COMMENT_MAX_CHARACTERS).collect();
    if shown.len() < description.len() {
        shown.push('…');
    }
    let _ = writeln!(text, "{}/** {} */", indent(depth), shown.replace("*/", "* /"));
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

fn type_of(schema: &Value, depth: usize) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        return union(values.iter().map(Value::to_string));
    }
    if let Some(alternatives) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        return union(alternatives.iter().map(|alternative| type_of(alternative, depth)));
    }
    match &schema["type"] {
        Value::String(name) => named_type(name, schema, depth),
        Value::Array(names) => {
            union(names.iter().filter_map(Value::as_str).map(|name| named_type(name, schema, depth)))
        }
        _ => "unknown".to_owned(),
    }
}

fn union(types: impl Iterator<Item = String>) -> String {
    types.collect::<Vec<_>>().join(" | ")
}

fn named_type(name: &str, schema: &Value, depth: usize) -> String {
    match name {
        "integer" | "number" => "number".to_owned(),
        "array" => array(schema, depth),
        "object" => object(schema, depth),
        name => name.to_owned(),
    }
}

/// A list, or a tuple where the number of elements is fixed.
fn array(schema: &Value, depth: usize) -> String {
    if let Some(elements) = schema["prefixItems"].as_array() {
        let elements: Vec<String> = elements.iter().map(|element| type_of(element, depth)).collect();
        return format!("[{}]", elements.join(", "));
    }
    let element =
        if schema["items"].is_null() { "unknown".to_owned() } else { type_of(&schema["items"], depth) };
    let fixed = schema["minItems"].as_u64().filter(|count| schema["maxItems"].as_u64() == Some(*count));
    match fixed.and_then(|count| usize::try_from(count).ok()) {
        Some(count) => format!("[{}]", vec![element; count].join(", ")),
        None if element.contains(" | ") && !element.starts_with('{') => format!("({element})[]"),
        None => format!("{element}[]"),
    }
}

fn object(schema: &Value, depth: usize) -> String {
    let Some(properties) = schema["properties"].as_object() else {
        let value = &schema["additionalProperties"];
        let value = if value.is_object() { type_of(value, depth) } else { "unknown".to_owned() };
        return format!("{{ [name: string]: {value} }}");
    };
    let is_required = |name: &str| {
        schema["required"].as_array().is_some_and(|required| required.iter().any(|one| one == name))
    };
    let mut text = String::from("{\n");
    let sorted: BTreeMap<_, _> = properties.iter().collect();
    for (name, property) in sorted {
        comment(&mut text, property, depth + 1);
        let is_identifier = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let name_text = if is_identifier { name.clone() } else { format!("{name:?}") };
        let mark = if is_required(name) { "" } else { "?" };
        let _ = writeln!(text, "{}{name_text}{mark}: {};", indent(depth + 1), type_of(property, depth + 1));
    }
    let _ = write!(text, "{}}}", indent(depth));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schema_becomes_a_type() {
        let cases = [
            (json!({"$ref": "#/components/schemas/Vm"}), "Vm"),
            (json!({"type": "integer"}), "number"),
            (json!({"type": ["string", "null"]}), "string | null"),
            (json!({"const": "event"}), "\"event\""),
            (json!({"enum": ["a", "b"]}), "\"a\" | \"b\""),
            (json!({"type": "array", "items": {"type": ["string", "null"]}}), "(string | null)[]"),
            (
                json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
                "[number, number]",
            ),
            (
                json!({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}),
                "[number, string]",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "integer"}}),
                "{ [name: string]: number }",
            ),
            (json!({"type": "object", "additionalProperties": true}), "{ [name: string]: unknown }"),
            (json!({"oneOf": [{"$ref": "#/A"}, {"type": "null"}]}), "A | null"),
            (json!({"description": "Anything."}), "unknown"),
            (
                json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b-c": {}}}),
                "{\n  a: string;\n  \"b-c\"?: unknown;\n}",
            ),
        ];
        for (schema, expected) in cases {
            assert_eq!(type_of(&schema, 0), expected, "{schema}");
        }
    }
}

//! Validates JSON values against the schemas of an `OpenAPI` document, or against a JSON Schema.
//!
//! Stricter than JSON Schema to find gaps: an object with `properties` has no other members unless
//! `additionalProperties` permits them, and an unknown keyword is an error.

use serde_json::Value;

/// Keywords without a constraint on values. Formats are documentation only.
const REMARKS: [&str; 7] = ["description", "format", "examples", "default", "title", "$schema", "$defs"];

/// The violations, with their places; empty if the value is valid.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let is_valid = match keyword.as_str() {
            "$ref" => {
                let pointer =
                    rule.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
                let schema =
                    document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in the document"));
                violations.extend(check(document, schema, value, path));
                true
            }
            "type" => types(rule).any(|name| is_of(value, name)),
            "const" => value == rule,
            "enum" => rule.as_array().expect("a list").contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().expect("a number")),
            "pattern" => value.as_str().is_none_or(|text| pattern(rule).is_match(text)),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 >= rule.as_u64().expect("a number")),
            "not" => !check(document, rule, value, path).is_empty(),
            "allOf" => {
                let parts = rule.as_array().expect("a list").iter();
                violations.extend(parts.flat_map(|schema| check(document, schema, value, path)));
                true
            }
            "if" => {
                let applies = check(document, rule, value, path).is_empty();
                violations.extend(
                    applies.then(|| check(document, &schema["then"], value, path)).into_iter().flatten(),
                );
                true
            }
            "then" => true,
            "minItems" => {
                value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().expect("a number"))
            }
            "maxItems" => {
                value.as_array().is_none_or(|list| list.len() as u64 <= rule.as_u64().expect("a number"))
            }
            "anyOf" | "oneOf" => {
                let matching = rule.as_array().expect("a list").iter();
                let matching =
                    matching.filter(|schema| check(document, schema, value, path).is_empty()).count();
                matching == 1 || (keyword == "anyOf" && matching > 1)
            }
            "required" => {
                let names = rule.as_array().expect("a list").iter().filter_map(Value::as_str);
                value.as_object().is_none_or(|object| names.into_iter().all(|name| object.contains_key(name)))
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                violations
                    .extend(items.flat_map(|(n, item)| check(document, rule, item, &format!("{path}/{n}"))));
                true
            }
            "propertyNames" => {
                let names =
                    value.as_object().into_iter().flatten().map(|(name, _)| Value::from(name.as_str()));
                violations.extend(names.flat_map(|name| check(document, rule, &name, path)));
                true
            }
            "properties" => {
                violations.extend(members(document, schema, value, path));
                true
            }
            "additionalProperties" if rule.is_boolean() => true,
            "additionalProperties" => {
                let members = value.as_object().into_iter().flatten();
                violations.extend(
                    members.flat_map(|(name, value)| check(document, rule, value, &format!("{path}/{name}"))),
                );
                true
            }
            remark if REMARKS.contains(&remark) => true,
            other => panic!("unknown keyword {other}"),
        };
        if !is_valid {
            violations.push(format!("{path}: {value} violates {keyword} {rule}"));
        }
    }
    violations
}

fn members(document: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    // A condition without a type does not forbid other members.
    let is_open = schema["additionalProperties"] == true || schema.get("type").is_none();
    let mut violations = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        match schema["properties"].get(name) {
            Some(schema) => violations.extend(check(document, schema, value, &path)),
            None if is_open => {}
            None => violations.push(format!("{path}: not described")),
        }
    }
    violations
}

fn pattern(rule: &Value) -> regex_lite::Regex {
    regex_lite::Regex::new(rule.as_str().expect("a text")).expect("a regular expression")
}

fn types(rule: &Value) -> impl Iterator<Item = &str> {
    let list = rule.as_array().map_or(std::slice::from_ref(rule), Vec::as_slice);
    list.iter().map(|name| name.as_str().expect("a type's name"))
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    }
}

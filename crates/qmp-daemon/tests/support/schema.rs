//! Holds JSON values against the schemas of an `OpenAPI` document.
//!
//! Stricter than JSON Schema where that helps to find gaps: an object with `properties` has no others unless
//! `additionalProperties` is said, and a keyword that is not known here is an error.

use serde_json::Value;

/// Keywords that say nothing about a value. Formats are for people.
const REMARKS: [&str; 5] = ["description", "format", "pattern", "examples", "default"];

/// What does not fit, with its place; nothing if all fits.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let is_kept = match keyword.as_str() {
            "$ref" => {
                let pointer =
                    rule.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
                let schema = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere"));
                wrong.extend(check(document, schema, value, place));
                true
            }
            "type" => types(rule).any(|name| is_of(value, name)),
            "const" => value == rule,
            "enum" => rule.as_array().expect("a list").contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().expect("a number")),
            "minItems" => {
                value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().expect("a number"))
            }
            "maxItems" => {
                value.as_array().is_none_or(|list| list.len() as u64 <= rule.as_u64().expect("a number"))
            }
            "anyOf" | "oneOf" => {
                let fitting = rule.as_array().expect("a list").iter();
                let fitting =
                    fitting.filter(|schema| check(document, schema, value, place).is_empty()).count();
                fitting == 1 || (keyword == "anyOf" && fitting > 1)
            }
            "required" => {
                let names = rule.as_array().expect("a list").iter().filter_map(Value::as_str);
                value.as_object().is_none_or(|object| names.into_iter().all(|name| object.contains_key(name)))
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                wrong
                    .extend(items.flat_map(|(n, item)| check(document, rule, item, &format!("{place}/{n}"))));
                true
            }
            "properties" => {
                wrong.extend(members(document, schema, value, place));
                true
            }
            "additionalProperties" if rule.is_boolean() => true,
            "additionalProperties" => {
                let members = value.as_object().into_iter().flatten();
                wrong.extend(
                    members
                        .flat_map(|(name, value)| check(document, rule, value, &format!("{place}/{name}"))),
                );
                true
            }
            remark if REMARKS.contains(&remark) => true,
            other => panic!("the keyword {other} is not known here"),
        };
        if !is_kept {
            wrong.push(format!("{place}: {value} against {keyword} {rule}"));
        }
    }
    wrong
}

fn members(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let is_open = schema["additionalProperties"] == true;
    let mut wrong = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let place = format!("{place}/{name}");
        match schema["properties"].get(name) {
            Some(schema) => wrong.extend(check(document, schema, value, &place)),
            None if is_open => {}
            None => wrong.push(format!("{place}: is not described")),
        }
    }
    wrong
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
        other => panic!("no type {other}"),
    }
}

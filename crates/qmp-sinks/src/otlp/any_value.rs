//! Values of JSON as those of OTLP.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Content;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use serde_json::{Number, Value};

/// Lists and objects inside one another; deeper ones become a text of JSON. Receivers refuse messages that are nested more
/// than about a hundred times.
const NESTED_MAX: usize = 16;

/// Converts a value. A number that OTLP cannot hold becomes a text with its digits.
pub(super) fn of(value: Value) -> AnyValue {
    nested(value, NESTED_MAX)
}

/// A member with its value.
pub(super) fn member(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(of(value)), key_strindex: 0 }
}

fn nested(value: Value, levels: usize) -> AnyValue {
    let content = match value {
        Value::Null => None,
        Value::Bool(flag) => Some(Content::BoolValue(flag)),
        Value::Number(number) => Some(self::number(&number)),
        Value::String(text) => Some(Content::StringValue(text)),
        deep @ (Value::Array(_) | Value::Object(_)) if levels == 0 => {
            Some(Content::StringValue(deep.to_string()))
        }
        Value::Array(elements) => {
            let values = elements.into_iter().map(|element| nested(element, levels - 1)).collect();
            Some(Content::ArrayValue(ArrayValue { values }))
        }
        Value::Object(members) => {
            let member =
                |(key, value)| KeyValue { key, value: Some(nested(value, levels - 1)), key_strindex: 0 };
            Some(Content::KvlistValue(KeyValueList { values: members.into_iter().map(member).collect() }))
        }
    };
    AnyValue { value: content }
}

fn number(number: &Number) -> Content {
    match (number.as_i64(), number.is_u64(), number.as_f64()) {
        (Some(integer), ..) => Content::IntValue(integer),
        (None, false, Some(float)) => Content::DoubleValue(float),
        _ => Content::StringValue(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let cases = [
            (json!(-5), Content::IntValue(-5)),
            (json!(i64::MAX), Content::IntValue(i64::MAX)),
            (json!(u64::MAX), Content::StringValue("18446744073709551615".into())),
            (json!(1.5), Content::DoubleValue(1.5)),
            (json!("5"), Content::StringValue("5".into())),
            (json!(true), Content::BoolValue(true)),
        ];
        for (value, expected) in cases {
            assert_eq!(of(value.clone()).value, Some(expected), "{value}");
        }
        assert_eq!(of(Value::Null).value, None);
    }

    #[test]
    fn deep_value_becomes_text() {
        let deep = (0..100).fold(json!(1), |value, _| json!([value]));
        let bytes = of(deep).encode_to_vec();
        let mut value = AnyValue::decode(&*bytes).expect("not nested too deep");
        let mut levels = 0;
        while let Some(Content::ArrayValue(mut array)) = value.value {
            value = array.values.remove(0);
            levels += 1;
        }
        assert_eq!(levels, NESTED_MAX);
        let Some(Content::StringValue(text)) = value.value else { panic!("{value:?}") };
        assert_eq!(text.matches('[').count(), 100 - NESTED_MAX);
    }
}

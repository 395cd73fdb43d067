//! Arguments that fit their description, but not the embedder's type: the errors are QEMU's.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    collections::BTreeMap,
    num::{NonZeroI64, NonZeroU8},
};

use qmp_server::{Command, Monitor, PendingCommand, Type};
use serde::{Deserialize, de::DeserializeOwned};
use support::machine::client;

#[derive(Deserialize)]
struct Holder<A> {
    #[expect(dead_code, reason = "only read")]
    value: A,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    #[expect(dead_code, reason = "only read")]
    x: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Left,
}

/// Returns the error of a command that describes its argument with `ty` and reads it as an `A`.
fn refusal<A: DeserializeOwned>(ty: Type, value: &str) -> String {
    let here = Command::new("here").required("value", ty.clone()).run(|_: Holder<A>| Ok(()));
    let elsewhere = Command::new("elsewhere").required("value", ty);
    let elsewhere = elsewhere.hand_over(|command: PendingCommand| {
        let read = command.read_arguments::<Holder<A>>();
        command.reply(read.map(drop));
    });
    let builder = Monitor::builder(7, 2, 22).command(here).command(elsewhere);
    let mut monitor = builder.build().unwrap();
    let mut client = client(&mut monitor);
    let mut replies = ["here", "elsewhere"].map(|name| {
        client.send(format!(r#"{{"execute":"{name}","arguments":{{"value":{value}}}}}"#));
        monitor.process().unwrap();
        let reply: serde_json::Value = serde_json::from_str(&client.lines_now()[0]).unwrap();
        reply["error"]["desc"].as_str().unwrap_or("none").to_owned()
    });
    assert_eq!(replies[0], replies[1]);
    std::mem::take(&mut replies[0])
}

#[test]
fn integer_outside_of_the_embedders_type_gets_the_error_of_qemu() {
    let integer = "Invalid parameter type for 'value', expected: integer";
    let rows = [
        (refusal::<u8>(Type::Int, "256"), "Parameter 'value' expects uint8_t"),
        (refusal::<u8>(Type::Int, "-1"), "Parameter 'value' expects uint8_t"),
        (refusal::<u16>(Type::Int, "65536"), "Parameter 'value' expects uint16_t"),
        (refusal::<u32>(Type::Uint64, "4294967296"), "Parameter 'value' expects uint32_t"),
        (refusal::<u64>(Type::Int, "-1"), "Parameter 'value' expects uint64"),
        (refusal::<usize>(Type::Int, "-1"), "Parameter 'value' expects uint64"),
        (refusal::<i8>(Type::Int, "128"), "Parameter 'value' expects int8_t"),
        (refusal::<i16>(Type::Int, "-32769"), "Parameter 'value' expects int16_t"),
        (refusal::<i32>(Type::Int, "2147483648"), "Parameter 'value' expects int32_t"),
        (refusal::<i64>(Type::Uint64, "9223372036854775808"), integer),
        (refusal::<isize>(Type::Uint64, "9223372036854775808"), integer),
        // Not an integer at all: QEMU reads 64 bits first.
        (refusal::<i64>(Type::Number, "1.5"), integer),
        (refusal::<i8>(Type::Number, "1.5"), integer),
        (refusal::<u64>(Type::Number, "1.5"), "Parameter 'value' expects uint64"),
        (refusal::<u8>(Type::Number, "1.5"), "Parameter 'value' expects uint64"),
        (refusal::<Option<u8>>(Type::Any, r#""1""#), "Parameter 'value' expects uint64"),
        (refusal::<i128>(Type::Any, "1.5"), integer),
        (refusal::<u128>(Type::Int, "-1"), "Parameter 'value' expects uint64"),
        (refusal::<NonZeroU8>(Type::Int, "0"), "Parameter 'value' expects a nonzero value"),
        (refusal::<NonZeroI64>(Type::Int, "0"), "Parameter 'value' expects a nonzero value"),
        (refusal::<NonZeroU8>(Type::Int, "256"), "Parameter 'value' expects uint8_t"),
        (refusal::<NonZeroU8>(Type::Any, r#""1""#), "Parameter 'value' expects uint64"),
        (refusal::<NonZeroI64>(Type::Any, r#""1""#), integer),
        (refusal::<f32>(Type::Number, "1e39"), "Parameter 'value' expects float"),
        (refusal::<Option<f32>>(Type::Number, "-1e39"), "Parameter 'value' expects float"),
        (refusal::<f32>(Type::Number, "3.4e38"), "none"),
        (refusal::<f32>(Type::Any, "18446744073709551615"), "none"),
        (refusal::<u8>(Type::Int, "255"), "none"),
        (refusal::<f64>(Type::Number, "1"), "none"),
    ];
    for (desc, expected) in rows {
        assert_eq!(desc, expected);
    }
}

#[test]
fn value_of_another_type_gets_the_error_of_qemu() {
    let any = || Type::Any;
    let rows = [
        (refusal::<String>(any(), "1"), "Invalid parameter type for 'value', expected: string"),
        (refusal::<bool>(any(), "1"), "Invalid parameter type for 'value', expected: boolean"),
        (refusal::<f64>(any(), r#""1""#), "Invalid parameter type for 'value', expected: number"),
        (refusal::<Vec<u8>>(any(), "{}"), "Invalid parameter type for 'value', expected: array"),
        (
            refusal::<BTreeMap<String, u8>>(any(), "[]"),
            "Invalid parameter type for 'value', expected: object",
        ),
        (refusal::<Point>(any(), "1"), "Invalid parameter type for 'value', expected: object"),
        (refusal::<Side>(any(), "1"), "Invalid parameter type for 'value', expected: string"),
        (refusal::<()>(any(), "1"), "Invalid parameter type for 'value', expected: null"),
        (refusal::<f32>(any(), r#""1""#), "Invalid parameter type for 'value', expected: number"),
        (refusal::<char>(any(), r#""ab""#), "Parameter 'value' expects a character"),
        (refusal::<[u8; 2]>(any(), "1"), "Invalid parameter type for 'value', expected: array"),
        (refusal::<(u8, u8)>(any(), "1"), "Invalid parameter type for 'value', expected: array"),
        (refusal::<[u8; 2]>(any(), "[1]"), "Parameter 'value' expects 2 elements"),
        (refusal::<(u8, u8)>(any(), "[1]"), "Parameter 'value' expects 2 elements"),
        (refusal::<std::path::PathBuf>(any(), "1"), "Invalid parameter type for 'value', expected: string"),
        // Paths, as in QEMU: of the value for its type, of the member alone for its range.
        (
            refusal::<Vec<String>>(any(), r#"["a",1]"#),
            "Invalid parameter type for 'value[1]', expected: string",
        ),
        (refusal::<Vec<u8>>(any(), "[1,256]"), "Parameter 'null' expects uint8_t"),
        (refusal::<Vec<Point>>(any(), r#"[{"x":"a"}]"#), "Parameter 'value[0].x' expects uint64"),
        (refusal::<Point>(any(), r#"{"x":65536}"#), "Parameter 'x' expects uint16_t"),
        (refusal::<Point>(any(), "{}"), "Parameter 'value.x' is missing"),
        (refusal::<Point>(any(), r#"{"x":1,"y":2}"#), "Parameter 'value.y' is unexpected"),
        (refusal::<Side>(any(), r#""up""#), "Parameter 'value' does not accept value 'up'"),
        (refusal::<Vec<Side>>(any(), r#"["up"]"#), "Parameter 'null' does not accept value 'up'"),
    ];
    for (desc, expected) in rows {
        assert_eq!(desc, expected);
    }
}

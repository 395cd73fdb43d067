//! The dialect of JSON that a server reads and prints: tables from the observed behaviour of QEMU 7.2 and 11.1, and
//! the cases of QEMU's own `check-qjson`.

use proptest::prelude::*;
use qmp_wire::dialect::{
    ErrorTexts, Hidden, Input, Object, TOKENS_MAX, Value, WriteError, write, write_object,
};

/// Returns all values read, printed; errors in angle brackets.
fn read(texts: ErrorTexts, bytes: &[u8]) -> Vec<String> {
    let mut input = Input::new(texts);
    input.feed(bytes);
    std::iter::from_fn(|| input.poll())
        .map(|item| match item {
            Ok(value) => print(&value),
            Err(error) => format!("<{}>", error.desc),
        })
        .collect()
}

fn print(value: &Value) -> String {
    let mut text = Vec::new();
    value.print(false, &mut text);
    String::from_utf8(text).expect("ASCII")
}

#[test]
fn error_text_is_that_of_the_release() {
    let cases: [(&[u8], &str, &str); 40] = [
        // input            7.2                                     11.1
        (b"{]}", "expecting value", "1:2: expecting key"),
        (b"{\"execute\": }", "expecting value", "1:13: expecting value"),
        (b"{1:2}", "key is not a string in object", "1:2: expecting key"),
        (b"{\"a\" 1}", "missing : in object pair", "1:6: expecting ':'"),
        (b"{\"a\":1 \"b\":2}", "expected separator in dict", "1:8: expected ',' or '}'"),
        (b"[1 2]", "expected separator in list", "1:4: expected ',' or ']'"),
        (b"{\"a\":1,}", "expecting value", "1:8: expecting key"),
        (b"[1,]", "expecting value", "1:4: expecting value"),
        (b"[,]", "expecting value", "1:2: expecting value"),
        (b"[,1]", "expecting value", "1:2: expecting value"),
        (b"}", "expecting value", "1:1: expecting value"),
        (b"]", "expecting value", "1:1: expecting value"),
        (b":", "expecting value", "1:1: expecting value"),
        (b",", "expecting value", "1:1: expecting value"),
        (b"{\"a\":1,\"a\":2}", "duplicate key", "1:12: duplicate key"),
        (b"nul ", "invalid keyword 'nul'", "1:1: invalid keyword 'nul'"),
        (b"truer ", "invalid keyword 'truer'", "1:1: invalid keyword 'truer'"),
        (b"True", "stray 'T'", "1:1: stray 'T'"),
        (b"NaN", "stray 'N'", "1:1: stray 'N'"),
        (b"+1", "stray '+'", "1:1: stray '+'"),
        (b".5", "stray '.'", "1:1: stray '.'"),
        (b"//", "stray '/'", "1:1: stray '/'"),
        (b"#", "stray '#'", "1:1: stray '#'"),
        (b"%d", "stray '%'", "1:1: stray '%'"),
        (b"@", "stray '@'", "1:1: stray '@'"),
        (b"\x01", "stray '\u{1}'", "1:1: stray '\u{1}'"),
        (b"01", "stray '01'", "1:1: stray '01'"),
        (b"1.\n", "stray '1.\n'", "1:1: stray '1.\n'"),
        (b"1e ", "stray '1e '", "1:1: stray '1e '"),
        (b"-\n", "stray '-\n'", "1:1: stray '-\n'"),
        (b"\"a\t", "stray '\"a\t'", "1:1: stray '\"a\t'"),
        (b"\xFE", "stray '\u{FFFD}'", "1:1: stray '\u{FFFD}'"),
        (b"'bad \xFF", "stray ''bad \u{FFFD}'", "1:1: stray ''bad \u{FFFD}'"),
        (b"\0", "stray ''", "1:1: stray ''"),
        (b"\"\\x41\"", "invalid escape sequence in string", "1:1: invalid escape sequence in string"),
        (b"\"\xC3\x28\"", "invalid UTF-8 sequence in string", "1:1: invalid UTF-8 sequence in string"),
        (b"\"\xED\xA0\x80\"", "invalid UTF-8 sequence in string", "1:1: invalid UTF-8 sequence in string"),
        (
            b"\"\\ud800\"",
            "\\ud800 is not a valid Unicode character",
            "1:1: \\ud800 is not a valid Unicode character",
        ),
        (
            b"\"\\udc00\"",
            "\\udc00 is not a valid Unicode character",
            "1:1: \\udc00 is not a valid Unicode character",
        ),
        (
            b"\"\\uffff\"",
            "\\uffff is not a valid Unicode character",
            "1:1: \\uffff is not a valid Unicode character",
        ),
    ];
    for (bytes, worded, placed) in cases {
        let name = String::from_utf8_lossy(bytes);
        let first = |texts| read(texts, bytes).into_iter().next();
        assert_eq!(first(ErrorTexts::Worded), Some(format!("<JSON parse error, {worded}>")), "{name}");
        let (position, text) = placed.split_once(": ").unwrap();
        assert_eq!(
            first(ErrorTexts::Placed),
            Some(format!("<{position}: JSON parse error, {text}>")),
            "{name}"
        );
        assert_eq!(first(ErrorTexts::One).as_deref(), Some("<Invalid JSON syntax>"), "{name}");
    }
}

#[test]
fn position_is_counted_from_the_first_byte() {
    assert_eq!(
        read(ErrorTexts::Placed, b"\n\n  {\"execute\":\n  \"a\" 1}\n[1 2]"),
        ["<4:7: JSON parse error, expected ',' or '}'>", "<5:4: JSON parse error, expected ',' or ']'>"]
    );
}

/// `check-qjson`: the accepted input and its printed form.
#[test]
fn qjson_cases_are_read_and_printed() {
    let cases: [(&[u8], &str); 30] = [
        (b"'single \"quotes\"'", r#""single \"quotes\"""#),
        (br#"'it\'s'"#, r#""it's""#),
        (br#""\b\f\n\r\t\/\\\"""#, r#""\b\f\n\r\t/\\\"""#),
        (br#""\u00e9\u20AC\ud83d\ude00""#, r#""\u00E9\u20AC\uD83D\uDE00""#),
        ("\"é€😀\"".as_bytes(), r#""\u00E9\u20AC\uD83D\uDE00""#),
        (b"\"\x7F\"", r#""\u007F""#),
        (b"\"\\u0000\xC0\x80\"", r#""\u0000\u0000""#),
        (b"0 ", "0"),
        (b"-0 ", "0"),
        (b"-0.0 ", "-0"),
        (b"1.0 ", "1"),
        (b"1e3 ", "1000"),
        (b"1E+2 ", "100"),
        (b"0.1 ", "0.10000000000000001"),
        (b"-9223372036854775808 ", "-9223372036854775808"),
        (b"-9223372036854775809 ", "-9.2233720368547758e+18"),
        (b"9223372036854775808 ", "9223372036854775808"),
        (b"18446744073709551615 ", "18446744073709551615"),
        (b"18446744073709551616 ", "1.8446744073709552e+19"),
        (b"1e400 ", "inf"),
        (b"5e-324 ", "4.9406564584124654e-324"),
        (b"true ", "true"),
        (b"null ", "null"),
        (b"[ ]", "[]"),
        (b"{ }", "{}"),
        (b" \t\r\n[1,\n2]", "[1, 2]"),
        (br#"{"reason":1,"guest":2}"#, r#"{"guest": 2, "reason": 1}"#),
        (br#"{"id":1,"return":2}"#, r#"{"return": 2, "id": 1}"#),
        (br#"{"desc":1,"class":2}"#, r#"{"class": 2, "desc": 1}"#),
        (br#""%d %s %p""#, r#""%d %s %p""#),
    ];
    for (bytes, expected) in cases {
        assert_eq!(read(ErrorTexts::Worded, bytes), [expected], "{}", String::from_utf8_lossy(bytes));
    }
}

/// `check-qjson`, the table of UTF-8: first and last of each length, and invalid sequences.
#[test]
fn utf_8_is_validated_as_by_qemu() {
    let bad = "<JSON parse error, invalid UTF-8 sequence in string>";
    let cases: [(&[u8], &str); 24] = [
        (b"\xC2\x80", r#""\u0080""#),
        (b"\xDF\xBF", r#""\u07FF""#),
        (b"\xE0\xA0\x80", r#""\u0800""#),
        (b"\xEF\xBF\xBC", r#""\uFFFC""#),
        (b"\xEF\xBF\xBD", r#""\uFFFD""#),
        (b"\xF0\x90\x80\x80", r#""\uD800\uDC00""#),
        (b"\xF4\x8F\xBF\xBD", r#""\uDBFF\uDFFD""#),
        (b"\xEE\x80\x80", r#""\uE000""#),
        (b"\xED\x9F\xBF", r#""\uD7FF""#),
        (b"\xC0\x80", r#""\u0000""#),
        (b"\xC0\xAF", bad),
        (b"\xC1\xBF", bad),
        (b"\xE0\x80\xAF", bad),
        (b"\xE0\x9F\xBF", bad),
        (b"\xF0\x8F\xBF\xBF", bad),
        (b"\xF8\x87\xBF\xBF\xBF", bad),
        (b"\xFC\x83\xBF\xBF\xBF\xBF", bad),
        (b"\x80", bad),
        (b"\xBF\x80", bad),
        (b"\xE2\x82", bad),
        (b"\xEF\xBF\xBE", bad),
        (b"\xEF\xB7\x90", bad),
        (b"\xF4\x8F\xBF\xBF", bad),
        (b"\xF4\x90\x80\x80", bad),
    ];
    for (bytes, expected) in cases {
        let quoted = [b"\"", bytes, b"\""].concat();
        assert_eq!(read(ErrorTexts::Worded, &quoted), [expected], "{bytes:?}");
    }
}

#[test]
fn reading_recovers_after_garbage() {
    let cases: [(&[u8], &[&str]); 5] = [
        // A lexical error: up to a structural character, a control byte other than tab, or FE, FF.
        (b"@ 1 2 [3]", &["<JSON parse error, stray '@'>", "[3]"]),
        (b"@ 1 \t2\n3 ", &["<JSON parse error, stray '@'>", "3"]),
        // An error is reported when the brackets of its message balance.
        (b"{\"a\" [1, 2], {}} [4]", &["<JSON parse error, missing : in object pair>", "[4]"]),
        (b"[1 2] [3]", &["<JSON parse error, expected separator in list>", "[3]"]),
        (b"{\"never closed\": [\x01[5]", &["<JSON parse error, stray '\u{1}'>", "[5]"]),
    ];
    for (bytes, expected) in cases {
        assert_eq!(read(ErrorTexts::Worded, bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }
    // Since 11.0, the rest after the offending token is skipped silently, even a stray byte.
    let skipped = read(ErrorTexts::Placed, b"[1 2, nul, {\xFF [3]");
    assert_eq!(skipped, ["<1:4: JSON parse error, expected ',' or ']'>", "[3]"]);
}

#[test]
fn nesting_beyond_the_limit_is_refused() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    for texts in [ErrorTexts::One, ErrorTexts::Worded, ErrorTexts::Placed] {
        let deepest = read(texts, &nested(1024));
        assert!(deepest.len() == 1 && deepest[0].starts_with("[[["), "{texts:?}");
    }
    let limit = "<JSON nesting depth limit exceeded>";
    assert_eq!(read(ErrorTexts::Placed, &nested(1025)), [limit]);
    let worded = read(ErrorTexts::Worded, &nested(1025));
    assert_eq!((worded.len(), &*worded[0]), (1026, limit), "each remaining bracket is another error");
}

#[test]
fn message_with_too_many_tokens_is_refused() {
    let list = |elements: usize| {
        let mut text = String::from("[");
        text.push_str(&"0,".repeat(elements - 1));
        text.push_str("0]");
        text
    };
    // `[`, elements, commas, `]`
    let most = (TOKENS_MAX - 1) / 2;
    assert!(read(ErrorTexts::Worded, list(most).as_bytes())[0].starts_with("[0, "));
    for texts in [ErrorTexts::Worded, ErrorTexts::Placed] {
        let items = read(texts, list(most + 1).as_bytes());
        assert_eq!(items[0], "<JSON token count limit exceeded>", "{texts:?}");
    }
}

#[test]
fn token_of_too_many_bytes_is_refused() {
    let mut input = Input::new(ErrorTexts::Worded);
    input.feed(b"\"");
    let mebibyte = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        input.feed(&mebibyte);
    }
    let refused = input.poll().expect("refused as soon as it is too long").unwrap_err();
    assert_eq!(refused.desc, "JSON token size limit exceeded");
    input.feed(b"\n[1]");
    let rest: Vec<_> = std::iter::from_fn(|| input.poll()).collect();
    assert_eq!(print(rest.last().unwrap().as_ref().unwrap()), "[1]", "the stream continues");
}

#[test]
fn large_object_is_read_in_linear_time() {
    let members: Vec<_> = (0..100_000).map(|number| format!("\"key{number}\": {number}")).collect();
    let text = format!("{{{}}}", members.join(", "));
    let printed = read(ErrorTexts::Worded, text.as_bytes());
    assert_eq!(printed[0].len(), text.len());
}

#[derive(serde::Serialize)]
struct Sample<'a> {
    speed: f64,
    len: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    inner: Option<Inner>,
    list: Vec<Inner>,
}

#[derive(Clone, serde::Serialize)]
struct Inner {
    reason: i8,
    guest: bool,
}

#[test]
fn struct_is_serialized_in_the_order_of_qemu() {
    let inner = Inner { reason: -1, guest: true };
    let sample =
        Sample { speed: 0.5, len: u64::MAX, kind: "é", inner: Some(inner.clone()), list: vec![inner; 2] };
    let mut out = b"before ".to_vec();
    write(&sample, &[], &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let expected = print(&Value::read(text.strip_prefix("before ").unwrap().as_bytes()));
    assert_eq!(text, format!("before {expected}"), "printed as a value");
    assert!(text.contains(r#"{"guest": true, "reason": -1}"#));
    let hidden = [
        Hidden { name: "speed".into(), within: Vec::new() },
        Hidden { name: "list".into(), within: vec![Hidden { name: "guest".into(), within: Vec::new() }] },
    ];
    let mut out = Vec::new();
    write(&sample, &hidden, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains("speed"));
    assert!(
        text.contains(r#"[{"reason": -1}, {"reason": -1}]"#)
            && text.contains(r#"{"guest": true, "reason": -1}"#)
    );
}

#[test]
fn number_that_json_does_not_have_is_serialized_as_null() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for value in [Value::Double(number), Value::List(vec![Value::Double(number)])] {
            let mut out = Vec::new();
            write(&value, &[], &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.trim_matches(['[', ']']), "null", "{number}");
        }
    }
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut out = Vec::new();
        write(&number, &[], &mut out).unwrap();
        assert_eq!(out, b"null", "{number}");
    }
}

#[test]
fn unserializable_value_is_refused() {
    let mut out = b"kept".to_vec();
    let numbers = std::collections::BTreeMap::from([(1, 2)]);
    assert_eq!(write(&numbers, &[], &mut out), Err(WriteError::KeyNotString));
    assert_eq!(write_object(&[1, 2], &[], &mut out), Err(WriteError::NotAnObject));
    assert_eq!(write_object(&Object::default(), &[], &mut out), Ok(false));
    assert_eq!(write_object(&(), &[], &mut out), Ok(false));
    assert_eq!(out, b"kept");
}

/// Any value.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (i64::MAX.cast_unsigned() + 1..).prop_map(Value::Uint),
        "[ -~é€😀\\x00-\\x1f]{0,12}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let members = prop::collection::vec(("[a-z\\-]{0,4}", inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::List),
            members.prop_map(|members| {
                Value::Object(members.iter().map(|(name, value)| (&**name, value.clone())).collect())
            }),
        ]
    })
}

proptest! {
    /// Where the stream is cut does not matter.
    #[test]
    fn stream_cut_anywhere_gives_the_same_values(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        for texts in [ErrorTexts::One, ErrorTexts::Worded, ErrorTexts::Placed] {
            let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut input = Input::new(texts);
            input.feed(first);
            let mut items = Vec::new();
            let mut rest = second;
            loop {
                items.extend(std::iter::from_fn(|| input.poll()));
                if rest.is_empty() {
                    break;
                }
                rest = &rest[input.feed_until_done(rest)..];
            }
            let items = items.into_iter().map(|item| match item {
                Ok(value) => print(&value),
                Err(error) => format!("<{}>", error.desc),
            });
            prop_assert_eq!(items.collect::<Vec<_>>(), read(texts, &bytes));
        }
    }

    /// Reading a printed value gives the same value, and the text is standard JSON.
    #[test]
    fn printed_value_reads_back_the_same(value in value()) {
        let text = print(&value);
        prop_assert_eq!(&Value::read(text.as_bytes()), &value);
        prop_assert!(text.is_ascii());
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        let mut pretty = Vec::new();
        value.print(true, &mut pretty);
        prop_assert_eq!(&Value::read(&pretty), &value);
    }

    /// A serialized value is printed as the value itself.
    #[test]
    fn serialized_value_is_printed_alike(value in value()) {
        let mut written = Vec::new();
        write(&value, &[], &mut written).unwrap();
        prop_assert_eq!(String::from_utf8(written).unwrap(), print(&value));
    }

    /// Strings are escaped alike at any length and any position of the special character.
    #[test]
    fn escape_is_found_at_any_position(before in "[ -~]{0,20}", special in any::<char>(), after in "[ -~]{0,20}") {
        let text = format!("{before}{special}{after}");
        let printed = print(&Value::String(text.clone()));
        prop_assert!(printed.is_ascii() && !printed.bytes().any(|byte| byte.is_ascii_control()));
        prop_assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), text);
    }
}

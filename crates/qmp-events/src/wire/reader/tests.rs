//! The reader accepts the same as `serde_json`, where it fits the type.

use super::decode;
use crate::RawJson;
use proptest::prelude::*;

#[test]
fn integer_in_range_is_decoded() {
    let cases = [
        ("0", Some(0)),
        (" -1\n", Some(-1)),
        ("127", Some(127)),
        ("-128", Some(-128)),
        ("128", None),
        ("-129", None),
        ("-0", None),
        ("01", None),
        ("1.0", None),
        ("1e0", None),
        ("-", None),
        ("+1", None),
        ("1 1", None),
        ("18446744073709551616", None),
        ("\"1\"", None),
    ];
    for (text, expected) in cases {
        assert_eq!(decode::<i8>(text).ok(), expected, "{text}");
    }
    assert_eq!(decode::<u64>("18446744073709551615"), Ok(u64::MAX));
    assert_eq!(decode::<i64>("-9223372036854775808"), Ok(i64::MIN));
}

#[test]
fn valid_json_list_is_decoded() {
    let cases = [
        ("[]", Some(vec![])),
        (" [ true , false ] ", Some(vec![true, false])),
        ("[true,]", None),
        ("[,true]", None),
        ("[true false]", None),
        ("[true", None),
        ("[True]", None),
        ("[tru", None),
        ("true", None),
    ];
    for (text, expected) in cases {
        assert_eq!(decode::<Vec<bool>>(text).ok(), expected, "{text}");
    }
}

#[test]
fn null_and_raw_values_are_decoded() {
    assert_eq!(decode::<()>(" null "), Ok(()));
    assert!(decode::<()>("nul").is_err() && decode::<()>("0").is_err());
    assert_eq!(decode::<f64>("-1.5e1"), Ok(-15.0));
    assert_eq!(decode::<RawJson>(" {\"a\": 01}").ok(), None);
    assert_eq!(decode::<RawJson>(" {\"a\" : 1.0} ").unwrap().get(), "{\"a\" : 1.0}");
}

proptest! {
    /// A text is a string for the reader exactly if it is one for `serde_json`, and the same one.
    #[test]
    fn strings_equal_those_of_serde_json(text in "\"?[a-z\"\\\\\\u0000-\\u0024é𝄞u0-9]{0,12}\"?") {
        let expected = serde_json::from_str::<Box<str>>(&text).ok();
        prop_assert_eq!(decode::<Box<str>>(&text).ok(), expected);
    }

    /// The same for lists of integers, except minus zero.
    #[test]
    fn integers_equal_those_of_serde_json(text in "\\[? ?-?[0-9]{0,20}(, ?-?[0-9]{1,3})?[.eE]? ?\\]?") {
        prop_assume!(!text.contains("-0"));
        let expected = serde_json::from_str::<Vec<i64>>(&text).ok();
        prop_assert_eq!(decode::<Vec<i64>>(&text).ok(), expected);
    }
}

//! Formats Rust literals and comments.

use crate::model::{Scalar, Values};
use crate::release::Release;

/// `Release::new(7, 2)`.
pub(super) fn release(release: Release) -> String {
    let Release { major, minor, micro } = release;
    match micro {
        Some(micro) => format!("Release::stable({major}, {minor}, {micro})"),
        None => format!("Release::new({major}, {minor})"),
    }
}

/// `Some(Release::new(7, 2))` or `None`.
pub(super) fn optional_release(value: Option<Release>) -> String {
    value.map_or("None".to_owned(), |value| format!("Some({})", release(value)))
}

/// `Some("text")` or `None`.
pub(super) fn optional_text(text: Option<&str>) -> String {
    format!("{text:?}")
}

/// `&[(member, &[values])]`.
pub(super) fn values(values: &Values) -> String {
    let one = |value: &Scalar| match value {
        Scalar::Str(value) => format!("Scalar::Str({value:?})"),
        Scalar::Bool(value) => format!("Scalar::Bool({value})"),
        Scalar::Int(value) => format!("Scalar::Int({value})"),
    };
    list(values.iter().map(|(member, values)| format!("({member:?}, {})", list(values.iter().map(one)))))
}

/// `&[a, b]`.
pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    format!("&[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Returns a text for a doc comment, with brackets and angles escaped.
pub(super) fn doc(text: &str) -> String {
    let mut escaped = String::new();
    let mut in_code = false;
    for character in text.chars() {
        in_code ^= character == '`';
        if !in_code && matches!(character, '[' | ']' | '<' | '>' | '*' | '_') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

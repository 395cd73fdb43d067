//! The schema of a document: its tables, the keys of each, and the form of each value.
//!
//! A reader asks for a value with the row of its key ([`KeySchema`]), from which it takes the name, the words for error
//! messages and the limits. Documentation, examples and a JSON Schema are made from the same rows.

use std::fmt;
use std::time::Duration;

use crate::span;

/// A table of a document.
#[derive(Debug)]
pub struct TableSchema {
    /// The header in a document, such as `[[vm]]`; `""` for the top level.
    pub header: &'static str,
    /// The table, in one sentence.
    pub summary: &'static str,
    /// The keys that every such table may have.
    pub keys: &'static [&'static KeySchema],
    /// If there are any, a table has the key of exactly one of them.
    pub variants: &'static [&'static Variant],
    /// Further conditions.
    pub constraints: &'static [Constraint],
}

/// A key that selects the variant of a table, and the further keys that this variant may have.
#[derive(Debug)]
pub struct Variant {
    /// The key that selects it.
    pub key: &'static KeySchema,
    /// Keys that only this variant, and others that list them, may have.
    pub options: &'static [&'static KeySchema],
}

/// A condition on several keys of a table.
#[derive(Clone, Copy, Debug)]
pub enum Constraint {
    /// A table with `key` has one of the others, too.
    Requires {
        /// The name of the key.
        key: &'static str,
        /// The names of the others.
        any_of: &'static [&'static str],
    },
    /// A table with `key` has the other key with that value.
    RequiresValue {
        /// The name of the key.
        key: &'static str,
        /// The name of the other.
        other: &'static str,
        /// The value of the other.
        value: &'static str,
    },
    /// A table with `key` has none of the others.
    Excludes {
        /// The name of the key.
        key: &'static str,
        /// The names of the others.
        others: fn() -> Vec<&'static str>,
    },
}

/// A key of a table.
#[derive(Debug)]
pub struct KeySchema {
    /// The name.
    pub name: &'static str,
    /// The form of the value.
    pub form: Form,
    /// The value, with its article, for error messages.
    pub expected: &'static str,
    /// Whether the key may be absent.
    pub presence: Presence,
    /// The meaning, in one sentence or two.
    pub summary: &'static str,
    /// A value, as it is written in the document.
    pub example: &'static str,
    /// The release that introduced the key.
    pub since: &'static str,
}

/// Whether a key may be absent, and what holds then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The key must be present.
    Required,
    /// Absence is the same as this value, written as in the document.
    Default(&'static str),
    /// Absence has an effect that no value has, in words; `""` if there is nothing to say.
    Optional(&'static str),
}

/// The form of a value.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// `true` or `false`.
    Flag,
    /// `true`.
    True,
    /// A text that is not empty.
    Text,
    /// A text that matches this regular expression, as far as one can tell by an expression.
    Pattern(&'static str),
    /// The path of a file or a directory.
    Path,
    /// One of these texts.
    Choice(fn() -> Vec<&'static str>),
    /// A text, for which these are suggested.
    Suggested(fn() -> Vec<&'static str>),
    /// A span of time.
    Span {
        /// The shortest one.
        min: Duration,
        /// The longest one.
        max: Duration,
    },
    /// A size in bytes with its unit.
    Size {
        /// The smallest one.
        min_bytes: u64,
        /// Whether a number of bytes is accepted, too.
        is_number: bool,
    },
    /// A number.
    Number {
        /// The smallest one.
        min: u32,
        /// The largest one.
        max: u32,
    },
    /// The permissions of a file, as a number or as for `chmod`.
    Mode,
    /// A program and its arguments; a text is a program without arguments.
    Command,
    /// A list of at least one value.
    List(&'static Form),
    /// One value, or a list of at least `min`.
    OneOrList {
        /// The form of a value.
        item: &'static Form,
        /// The shortest list.
        min: u32,
    },
    /// A value of any of these forms.
    Any(&'static [Form]),
    /// A table.
    Table(&'static TableSchema),
    /// A list of tables, each with its header.
    Tables(&'static TableSchema),
}

impl KeySchema {
    /// Creates the row of an optional key.
    #[must_use]
    pub const fn new(name: &'static str, form: Form, expected: &'static str, summary: &'static str) -> Self {
        Self { name, form, expected, presence: Presence::Optional(""), summary, example: "", since: "0.1" }
    }

    /// Sets the example, a value as it is written in the document.
    #[must_use]
    pub const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// The key must be present.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { presence: Presence::Required, ..self }
    }

    /// Sets the value that an absent key has.
    #[must_use]
    pub const fn default(self, value: &'static str) -> Self {
        Self { presence: Presence::Default(value), ..self }
    }

    /// Sets the words for the effect of an absent key.
    #[must_use]
    pub const fn absent(self, effect: &'static str) -> Self {
        Self { presence: Presence::Optional(effect), ..self }
    }
}

impl TableSchema {
    /// All keys: the common ones, then the variants, each with its options. Keys of several variants are listed once.
    #[must_use]
    pub fn all_keys(&self) -> Vec<&'static KeySchema> {
        let mut keys: Vec<&'static KeySchema> = self.keys.to_vec();
        let of_variants = self.variants.iter().map(|variant| variant.key);
        keys.extend(of_variants);
        for option in self.variants.iter().flat_map(|variant| variant.options) {
            if !keys.iter().any(|key| key.name == option.name) {
                keys.push(option);
            }
        }
        keys
    }

    /// The names of all keys.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.all_keys().iter().map(|key| key.name).collect()
    }

    /// The variants that have an option of that name.
    pub fn owners(&self, option: &str) -> impl Iterator<Item = &'static Variant> {
        let has = move |variant: &&'static Variant| variant.options.iter().any(|key| key.name == option);
        self.variants.iter().copied().filter(has)
    }
}

/// The permitted values, as in a table of documentation.
impl fmt::Display for Form {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => out.write_str("`true` or `false`"),
            Self::True => out.write_str("`true`"),
            Self::Text | Self::Pattern(_) | Self::Suggested(_) => out.write_str("text"),
            Self::Path => out.write_str("path"),
            Self::Choice(choices) => {
                let choices: Vec<String> = choices().iter().map(|choice| format!("`\"{choice}\"`")).collect();
                out.write_str(&choices.join(", "))
            }
            Self::Span { min, max: Duration::MAX } => write!(out, "span, at least {}", described(*min)),
            Self::Span { min, max } => write!(out, "span from {} to {}", described(*min), described(*max)),
            Self::Size { min_bytes, .. } if *min_bytes < 1 << 20 => {
                write!(out, "size, at least {} KiB", min_bytes >> 10)
            }
            Self::Size { min_bytes, .. } => write!(out, "size, at least {} MiB", min_bytes >> 20),
            Self::Number { max: u32::MAX, .. } => out.write_str("number"),
            Self::Number { min, max } => write!(out, "number from {min} to {max}"),
            Self::Mode => out.write_str("permissions"),
            Self::Command => out.write_str("text, or a list"),
            Self::List(item) => write!(out, "list ({item})"),
            Self::OneOrList { item, .. } => write!(out, "{item}, or a list"),
            Self::Any(forms) => {
                let forms: Vec<String> = forms.iter().map(Self::to_string).collect();
                out.write_str(&forms.join(" or "))
            }
            Self::Table(table) | Self::Tables(table) => write!(out, "table `{}`", table.header),
        }
    }
}

fn described(span: Duration) -> String {
    span::describe(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)).replace(".0 s", " s")
}

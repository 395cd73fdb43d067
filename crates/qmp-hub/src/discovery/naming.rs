//! Names of VMs that were found.
//!
//! A path or a process has a few parts; a template combines them; characters that a name must not have become `-`. Untrusted
//! users may choose the parts, so a name has only the characters of a [`VmName`]. A number distinguishes VMs with the same
//! name: `web`, `web-2`.

use std::fmt;
use std::str::FromStr;

use crate::layout::Parts;
use crate::vm::{VM_NAME_MAX_BYTES, VmName};

/// VMs with the same name, at most. More of them are hardly an accident.
const SAME_NAME_MAX: usize = 64;

/// How names are made, such as `pve-{name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Name,
    Stem,
    Directory,
    Uuid,
    Host,
}

/// Errors of reading a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("\"{text}\" has a brace without its partner")]
    Brace {
        /// The template.
        text: Box<str>,
    },
    /// The text in braces is not a part.
    #[error(
        "{{{part}}} is no part of a name; there are {{name}}, {{stem}} and {{directory}}, and with libvirt {{uuid}} and {{host}}"
    )]
    UnknownPart {
        /// The text in the braces.
        part: Box<str>,
    },
    /// All VMs would have the same name.
    #[error("\"{text}\" gives all VMs one name; put {{name}}, {{stem}} or {{directory}} into it")]
    Constant {
        /// The template.
        text: Box<str>,
    },
}

impl Template {
    pub(crate) fn fill(&self, parts: &Parts) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Name => parts.name.clone(),
            Piece::Stem => parts.stem.clone(),
            Piece::Directory => parts.directory.clone(),
            Piece::Uuid => parts.uuid.clone(),
            Piece::Host => parts.host.clone(),
        };
        self.pieces.iter().map(piece).collect()
    }
}

impl Default for Template {
    fn default() -> Self {
        Self { pieces: vec![Piece::Name] }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let brace = || TemplateError::Brace { text: text.into() };
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, part) = rest.split_once('{').unwrap_or((rest, ""));
            if plain.contains('}') {
                return Err(brace());
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(plain.into()));
            }
            if plain.len() == rest.len() {
                break;
            }
            let (part, behind) = part.split_once('}').ok_or_else(brace)?;
            pieces.push(match part {
                "name" => Piece::Name,
                "stem" => Piece::Stem,
                "directory" => Piece::Directory,
                "uuid" => Piece::Uuid,
                "host" => Piece::Host,
                part => return Err(TemplateError::UnknownPart { part: part.into() }),
            });
            rest = behind;
        }
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_) | Piece::Host)) {
            return Err(TemplateError::Constant { text: text.into() });
        }
        Ok(Self { pieces })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            out.write_str(match piece {
                Piece::Text(text) => text,
                Piece::Name => "{name}",
                Piece::Stem => "{stem}",
                Piece::Directory => "{directory}",
                Piece::Uuid => "{uuid}",
                Piece::Host => "{host}",
            })?;
        }
        Ok(())
    }
}

/// The candidates for the name of a VM with that text, in the order in which they are tried.
pub(crate) fn candidates(text: &str) -> impl Iterator<Item = VmName> {
    let plain = plain(text);
    (1..=SAME_NAME_MAX).filter_map(move |number| {
        if number == 1 {
            return plain.parse().ok();
        }
        let suffix = format!("-{number}");
        let kept = &plain[..plain.len().min(VM_NAME_MAX_BYTES - suffix.len())];
        // A shortened name may itself end in a number.
        Some(format!("{kept}{suffix}")).filter(|name| *name != plain)?.parse().ok()
    })
}

/// The text without characters that a name must not have.
fn plain(text: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let replaced: String = text
        .trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric())
        .chars()
        .take(VM_NAME_MAX_BYTES)
        .map(|letter| if allowed(letter) { letter } else { '-' })
        .collect();
    if replaced.is_empty() { "vm".to_owned() } else { replaced }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_cut_down_to_what_is_allowed() {
        let long = "x".repeat(70);
        let cases: [(&str, &str, &str); 9] = [
            // found              first name          third name
            ("web1", "web1", "web1-3"),
            ("web 1", "web-1", "web-1-3"),
            ("../../etc", "etc", "etc-3"),
            ("-rf", "rf", "rf-3"),
            ("", "vm", "vm-3"),
            ("\u{1b}[31mred", "31mred", "31mred-3"),
            ("é", "vm", "vm-3"),
            ("a\nb", "a-b", "a-b-3"),
            (&long, &long[..64], &format!("{}-3", &long[..62])),
        ];
        for (found, first, third) in cases {
            let names: Vec<_> = candidates(found).take(3).map(|name| name.to_string()).collect();
            assert_eq!((names[0].as_str(), names[2].as_str()), (first, third), "{found:?}");
        }
    }

    #[test]
    fn templates_are_read_and_filled() {
        let parts = Parts {
            name: "web1".into(),
            stem: "monitor".into(),
            directory: "domain-1-web1".into(),
            ..Parts::default()
        };
        let cases = [
            ("{name}", "web1"),
            ("pve-{name}", "pve-web1"),
            ("{directory}.{stem}", "domain-1-web1.monitor"),
            ("", "\"\" gives all VMs one name; put {name}, {stem} or {directory} into it"),
            ("web", "\"web\" gives all VMs one name; put {name}, {stem} or {directory} into it"),
            (
                "{nmae}",
                "{nmae} is no part of a name; there are {name}, {stem} and {directory}, and with libvirt {uuid} and {host}",
            ),
            ("{name", "\"{name\" has a brace without its partner"),
            ("name}{name}", "\"name}{name}\" has a brace without its partner"),
        ];
        for (template, expected) in cases {
            let filled = template.parse::<Template>().map(|template| template.fill(&parts));
            assert_eq!(filled.unwrap_or_else(|error| error.to_string()), expected, "{template:?}");
        }
    }

    proptest! {
        /// VMs of any titles get names, all different.
        #[test]
        fn there_is_always_a_name(found in "\\PC{0,80}") {
            let names: Vec<_> = candidates(&found).collect();
            let different: std::collections::HashSet<_> = names.iter().collect();
            prop_assert!(names.len() >= SAME_NAME_MAX - 1 && different.len() == names.len());
        }

        /// A name that is allowed is kept as it is.
        #[test]
        fn a_good_name_is_kept(found in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}") {
            let first = candidates(&found).next().map(|name| name.to_string());
            prop_assert_eq!(first, Some(found));
        }
    }
}

//! Rust names for names of the wire.

/// Keywords that are allowed as names of members, with `r#` in Rust.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "final", "fn", "for", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// `VSERPORT_CHANGE`, `hyper-v`, `DIMM` → `VserportChange`, `HyperV`, `Dimm`.
pub(crate) fn variant(wire: &str) -> String {
    wire.split(['-', '_', '.']).map(capitalized).collect()
}

/// `tray-open`, `type` → `tray_open`, `r#type`.
pub(crate) fn field(wire: &str) -> String {
    let name = wire.replace(['-', '.'], "_").to_lowercase();
    if KEYWORDS.contains(&&*name) { format!("r#{name}") } else { name }
}

/// `block-core` → `block_core`.
pub(crate) fn module(module: &str) -> String {
    module.replace('-', "_")
}

/// Returns whether the name is a valid identifier in Rust.
pub(crate) fn is_identifier(name: &str) -> bool {
    let name = name.strip_prefix("r#").unwrap_or(name);
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn capitalized(word: &str) -> String {
    let is_shouted = !word.bytes().any(|byte| byte.is_ascii_lowercase());
    let rest = word.get(1..).unwrap_or_default();
    let first = word.get(..1).unwrap_or_default().to_uppercase();
    if is_shouted { first + &rest.to_lowercase() } else { first + rest }
}

#[cfg(test)]
mod tests {
    #[test]
    fn rust_name_follows_the_wire_name() {
        let cases = [
            ("VSERPORT_CHANGE", "VserportChange", "vserport_change"),
            ("hyper-v", "HyperV", "hyper_v"),
            ("s390", "S390", "s390"),
            ("DIMM", "Dimm", "dimm"),
            ("type", "Type", "r#type"),
            ("x509_dname", "X509Dname", "x509_dname"),
        ];
        for (wire, variant, field) in cases {
            assert_eq!((super::variant(wire), super::field(wire)), (variant.into(), field.into()), "{wire}");
        }
    }
}

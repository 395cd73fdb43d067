//! The declarations and imports of one source file, outside its tests.

use super::tokens::{Token, tokens};

/// One source file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// The modules with their own files, in order.
    pub(crate) modules: Vec<String>,
    /// The paths in it: those of `use` declarations, and those in code that begin with `crate` or `super`.
    pub(crate) paths: Vec<ItemPath>,
    pub(crate) functions: Vec<Function>,
}

/// A path to an item, a module, or all items of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// A function and its length, from `fn` to its last brace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Reads a source file.
pub(crate) fn read(source: &str) -> SourceFile {
    let tokens = tokens(source);
    let mut file = SourceFile::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
        match token.text {
            "#" if is_cfg_test(&tokens[at..]) => {
                at = item_end(&tokens, at);
                continue;
            }
            "mod" if next(2) == ";" => file.modules.push(next(1).to_owned()),
            "use" => {
                at = use_tree(&tokens, at + 1, &[], &mut file.paths);
                continue;
            }
            "crate" | "super" if next(1) == "::" && is_path_start(&tokens, at) => {
                let path = plain_path(&tokens[at..]);
                at += 2 * path.segments.len() - 1;
                file.paths.push(path);
                continue;
            }
            "fn" if is_name(next(1)) => file.functions.extend(function(&tokens, at)),
            _ => {}
        }
        at += 1;
    }
    file
}

/// Whether `#[cfg(test)]` begins here.
fn is_cfg_test(tokens: &[Token<'_>]) -> bool {
    let expected = ["#", "[", "cfg", "(", "test", ")", "]"];
    tokens.len() >= expected.len() && tokens.iter().zip(expected).all(|(token, text)| token.text == text)
}

/// Returns the end of the item whose attribute is at `at`: after its semicolon, or its braces.
fn item_end(tokens: &[Token<'_>], at: usize) -> usize {
    let (mut depth, mut at) = (0_usize, at);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                // The braces of `use a::{b};` are followed by its semicolon.
                if depth == 0 && tokens.get(at).is_none_or(|next| next.text != ";") {
                    return at;
                }
            }
            ";" if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

/// Whether a path begins here that is not part of a visibility, such as `pub(in super::super)`.
fn is_path_start(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    before.is_none_or(|before| !["::", "in"].contains(&before.text))
}

fn plain_path(tokens: &[Token<'_>]) -> ItemPath {
    let line = tokens.first().map_or(0, |token| token.line);
    let mut segments = Vec::new();
    for pair in tokens.chunks(2) {
        let [name, rest @ ..] = pair else { break };
        if !is_name(name.text) {
            break;
        }
        segments.push(name.text.to_owned());
        if rest.first().is_none_or(|token| token.text != "::") {
            break;
        }
    }
    ItemPath { segments, line }
}

/// Reads one tree of a `use` declaration, without the names that `as` gives; returns its end.
fn use_tree(tokens: &[Token<'_>], at: usize, prefix: &[String], paths: &mut Vec<ItemPath>) -> usize {
    let (mut segments, mut at) = (prefix.to_vec(), at);
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text {
            "::" => {}
            "{" => {
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, &segments, paths);
                    if tokens.get(at).is_some_and(|token| token.text == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => at += 1,
            "," | "}" | ";" => {
                at -= 1;
                break;
            }
            // `use a::b::{self}` is `use a::b`, and `use a::*` is of everything in it.
            "self" if !segments.is_empty() => {}
            text => segments.push(text.to_owned()),
        }
    }
    if segments.len() > prefix.len()
        || tokens.get(at.saturating_sub(1)).is_some_and(|token| token.text == "self")
    {
        paths.push(ItemPath { segments, line });
    }
    at
}

/// The function whose `fn` is at `at`; `None` if it has no body.
fn function(tokens: &[Token<'_>], at: usize) -> Option<Function> {
    let (mut depth, mut body) = (0_usize, None);
    for token in &tokens[at..] {
        match token.text {
            "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => return None,
            "{" => {
                depth += 1;
                body.get_or_insert(depth);
            }
            "}" => {
                if body == Some(depth) {
                    let [first, name] = [tokens[at], tokens[at + 1]];
                    let lines = token.line - first.line + 1;
                    return Some(Function { name: name.text.to_owned(), line: first.line, lines });
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        read(source).paths.iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn paths_are_found() {
        let cases: [(&str, &[&str]); 9] = [
            ("use a::b;", &["a::b"]),
            (
                "pub(crate) use super::{b, c::{self, D as E, *}, f::G};",
                &["super::b", "super::c", "super::c::D", "super::c::*", "super::f::G"],
            ),
            ("#[cfg(test)]\nuse a::{b, c};\nuse d::e;", &["d::e"]),
            ("#[cfg(test)]\nmod tests { use super::*; }\nuse d::e;", &["d::e"]),
            ("fn f() { crate::a::b(super::c::D) }", &["crate::a::b", "super::c::D"]),
            ("pub(in super::super) fn f() {}", &[]),
            ("use self::a::b;", &["self::a::b"]),
            ("use super::super::a;", &["super::super::a"]),
            ("macro_rules! m { () => { $crate::a::B } }", &["crate::a::B"]),
        ];
        for (source, expected) in cases {
            assert_eq!(paths(source), expected, "{source}");
        }
    }

    #[test]
    fn modules_and_functions_are_found() {
        let source = "mod a;\n#[cfg(test)]\nmod testing;\npub mod b;\nmod inline { mod c; }\n\
                      trait T { fn declared(&self); }\nfn long(a: [u8; 2]) -> u8 {\n    if a { 1 } else { 2 }\n}\nlet f: fn(u8);";
        let file = read(source);
        assert_eq!(file.modules, ["a", "b", "c"]);
        assert_eq!(file.functions, [Function { name: "long".to_owned(), line: 7, lines: 3 }]);
    }
}

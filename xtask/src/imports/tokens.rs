//! Rust source as tokens, as far as imports and lengths need them: names, numbers' letters and punctuation, each with its
//! line. Comments, strings and characters are left out.

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// Splits a source file.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let bytes = source.as_bytes();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let length = match blank(&source[at..]) {
            Some(length) => length,
            None => {
                let length = token(&source[at..]);
                tokens.push(Token { text: &source[at..at + length], line });
                length
            }
        };
        line += bytes[at..at + length].iter().filter(|byte| **byte == b'\n').count();
        at += length;
    }
    tokens
}

/// The length of the text here that is no token, such as a comment; `None` if a token begins.
fn blank(rest: &str) -> Option<usize> {
    let until =
        |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    let first = rest.chars().next()?;
    if first.is_whitespace() {
        return Some(first.len_utf8());
    }
    if rest.starts_with("//") {
        return Some(until("\n", 2));
    }
    if rest.starts_with("/*") {
        return Some(until("*/", 2));
    }
    let literal = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - literal.len();
    if prefix > 1 {
        return None;
    }
    if let Some(raw) = literal.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            return Some(until(&end, prefix + 1 + hashes + 1));
        }
    }
    if literal.starts_with('"') {
        return Some(prefix + quoted(literal, '"'));
    }
    if literal.starts_with('\'') && (literal[1..].starts_with('\\') || literal.chars().nth(2) == Some('\'')) {
        return Some(prefix + quoted(literal, '\''));
    }
    None
}

/// The length of a literal that begins and ends with this mark.
fn quoted(literal: &str, mark: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in literal.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == mark => return at + 1,
            _ => {}
        }
    }
    literal.len()
}

/// The length of a token: a name, `::`, or one character.
fn token(rest: &str) -> usize {
    let is_of_name = |character: char| character.is_alphanumeric() || character == '_';
    let name = rest.find(|character| !is_of_name(character)).unwrap_or(rest.len());
    match name {
        0 if rest.starts_with("::") => 2,
        0 => rest.chars().next().map_or(1, char::len_utf8),
        length => length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_left_out() {
        let cases = [
            ("use a::{b, c};", "use a :: { b , c } ;"),
            ("x // use y;\n/* mod z; */ w", "x w"),
            (r##"f("use a;", 'x', '\'', b'"', r#"mod "b""#, b"c")"##, "f ( , , , , , )"),
            ("fn f<'a>(a: &'a str) {}", "fn f < ' a > ( a : & ' a str ) { }"),
            ("b + c::r", "b + c :: r"),
        ];
        for (source, expected) in cases {
            let found: Vec<&str> = tokens(source).iter().map(|token| token.text).collect();
            assert_eq!(found.join(" "), expected, "{source}");
        }
    }

    #[test]
    fn tokens_have_their_lines() {
        let lines: Vec<usize> = tokens("a\n\"x\ny\" b\n/* \n */ c").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 5]);
    }
}

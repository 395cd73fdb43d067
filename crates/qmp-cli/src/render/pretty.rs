//! The result of a command, over several lines.

use super::escape;
use super::json_text::compact;

/// JSON over several lines, with members in the order of the VM; a string is shown without quotes.
pub fn pretty(json: &str) -> String {
    if let Ok(text) = serde_json::from_str::<String>(json) {
        // Replies of the human monitor have lines.
        return text.trim_end().lines().map(escape::text).collect::<Vec<_>>().join("\n");
    }
    let mut text = String::new();
    let mut depth = 0_usize;
    let compact = compact(json);
    let mut characters = compact.chars().peekable();
    let (mut in_string, mut escaped) = (false, false);
    while let Some(character) = characters.next() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            text += &escape::text(character.encode_utf8(&mut [0; 4]));
            continue;
        }
        match character {
            '{' | '[' if matches!(characters.peek(), Some('}' | ']')) => {
                text.push(character);
                text.extend(characters.next());
            }
            '{' | '[' => {
                depth += 1;
                text.push(character);
                new_line(&mut text, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(character);
            }
            ',' => {
                text.push(',');
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => {
                in_string = character == '"';
                text.push(character);
            }
        }
    }
    text
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_indented() {
        let cases = [
            ("{}", "{}"),
            ("[ ]", "[]"),
            ("7", "7"),
            (r#""one\r\ntwo \u001b[1m\r\n""#, "one\ntwo \\u001b[1m"),
            (
                r#"{"z": 18446744073709551615, "a": ["x,:{}", {}]}"#,
                "{\n  \"z\": 18446744073709551615,\n  \"a\": [\n    \"x,:{}\",\n    {}\n  ]\n}",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(pretty(json), expected, "{json}");
        }
    }
}

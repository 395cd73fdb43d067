//! The ids of a connection, and the bytes of a request.

use crate::json::write_string;

/// Digits of a nonce in an id.
const NONCE_DIGITS: usize = 16;

/// Writes a request, line end included.
///
/// A server that reads JSON values needs no line end, but some servers read lines.
pub(super) fn write(
    out: &mut Vec<u8>,
    out_of_band: bool,
    command: &str,
    arguments: Option<&str>,
    nonce: u64,
    number: u64,
) {
    out.extend_from_slice(if out_of_band { b"{\"exec-oob\": " } else { b"{\"execute\": " });
    write_string(out, command);
    if let Some(arguments) = arguments {
        out.extend_from_slice(b", \"arguments\": ");
        out.extend_from_slice(arguments.as_bytes());
    }
    out.extend_from_slice(format!(", \"id\": \"{nonce:016x}-{number}\"}}\r\n").as_bytes());
}

/// Returns the number of the command in the raw `id` of a reply; `None` if the id is not of this connection.
pub(super) fn number(id: &str, nonce: u64) -> Option<u64> {
    let id = id.strip_prefix('"')?.strip_suffix('"')?;
    let (digits, number) = id.split_once('-')?;
    let ours = digits.len() == NONCE_DIGITS && u64::from_str_radix(digits, 16) == Ok(nonce);
    ours.then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_text(out_of_band: bool, command: &str, arguments: Option<&str>) -> String {
        let mut out = Vec::new();
        write(&mut out, out_of_band, command, arguments, 0xbeef, 7);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn request_is_written() {
        assert_eq!(
            request_text(false, "stop", None),
            "{\"execute\": \"stop\", \"id\": \"000000000000beef-7\"}\r\n"
        );
        assert_eq!(
            request_text(true, "a\"b", Some(r#"{"id":1}"#)),
            "{\"exec-oob\": \"a\\\"b\", \"arguments\": {\"id\":1}, \"id\": \"000000000000beef-7\"}\r\n"
        );
    }

    #[test]
    fn id_of_other_connection_is_not_recognized() {
        let cases = [
            ("ours", r#""000000000000beef-7""#, Some(7)),
            ("another connection's", r#""000000000000beee-7""#, None),
            ("short nonce", r#""beef-7""#, None),
            ("no number", r#""000000000000beef-""#, None),
            ("no text", "7", None),
            ("null", "null", None),
            ("object", r#"{"a": "000000000000beef-7"}"#, None),
            ("another program's", r#""libvirt-7""#, None),
        ];
        for (name, id, expected) in cases {
            assert_eq!(number(id, 0xbeef), expected, "{name}");
        }
    }
}

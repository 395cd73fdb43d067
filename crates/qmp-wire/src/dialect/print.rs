//! Prints values as QEMU does: ASCII only, members in the order of the hash table.

use super::number;
use super::value::{Object, Value};

impl Value {
    /// Appends the value as QEMU prints it: on one line, or over many with an indent of four.
    pub fn print(&self, pretty: bool, out: &mut Vec<u8>) {
        Printer { pretty, depth: 0, out }.value(self);
    }
}

/// Appends a text that is one JSON value as QEMU prints it; `null` if QEMU would not accept the text.
pub fn reprint(text: &[u8], out: &mut Vec<u8>) {
    Value::read(text).print(false, out);
}

/// Appends a string in quotes.
#[inline]
pub(crate) fn print_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(index) = first_to_escape(rest.as_bytes()) {
        let (plain, from_here) = rest.split_at(index);
        out.extend_from_slice(plain.as_bytes());
        let mut characters = from_here.chars();
        if let Some(character) = characters.next() {
            print_escaped(character, out);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// Returns the index of the first byte that needs an escape. Checks eight bytes at a time: most strings have none.
#[inline]
fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    // The remaining bytes, preceded by blanks to make eight.
    let last = rest.iter().fold(u64::from_le_bytes([b' '; 8]), |last, byte| last << 8 | u64::from(*byte));
    if chunks.iter().all(|chunk| are_plain(u64::from_le_bytes(*chunk))) && are_plain(last) {
        return None;
    }
    bytes.iter().position(|byte| needs_escape(*byte))
}

/// Returns whether none of eight bytes needs an escape.
fn are_plain(bytes: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    // The high bit of each byte that is 0x7F or more; of each below 0x20; of each that equals one of the two others.
    let high = bytes | bytes.wrapping_add(ONES);
    let low = bytes.wrapping_sub(ONES * 0x20) & !bytes;
    let quote = bytes ^ (ONES * 0x22);
    let backslash = bytes ^ (ONES * 0x5C);
    let special = quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash;
    (high | low | special) & (ONES << 7) == 0
}

fn needs_escape(byte: u8) -> bool {
    !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\'
}

fn print_escaped(character: char, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\u{C}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let digits = [12, 8, 4, 0].map(|shift| HEX[usize::from(*unit >> shift & 0xF)]);
                out.extend_from_slice(b"\\u");
                out.extend_from_slice(&digits);
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

struct Printer<'a> {
    pretty: bool,
    depth: usize,
    out: &'a mut Vec<u8>,
}

impl Printer<'_> {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            Value::Int(number) => self.out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Uint(number) => self.out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Double(number) => number::print_double(*number, self.out),
            Value::String(text) => print_string(text, self.out),
            Value::List(values) => self.list(values),
            Value::Object(object) => self.object(object),
        }
    }

    fn list(&mut self, values: &[Value]) {
        self.out.push(b'[');
        self.depth += 1;
        for (index, value) in values.iter().enumerate() {
            self.separate(index);
            self.value(value);
        }
        self.end(b']');
    }

    fn object(&mut self, object: &Object) {
        self.out.push(b'{');
        self.depth += 1;
        for (index, (name, value)) in object.members().into_iter().enumerate() {
            self.separate(index);
            print_string(name, self.out);
            self.out.extend_from_slice(b": ");
            self.value(value);
        }
        self.end(b'}');
    }

    fn separate(&mut self, index: usize) {
        match (index, self.pretty) {
            (0, false) => {}
            (_, false) => self.out.extend_from_slice(b", "),
            (0, true) => self.line(),
            (_, true) => {
                self.out.push(b',');
                self.line();
            }
        }
    }

    fn end(&mut self, bracket: u8) {
        self.depth -= 1;
        if self.pretty {
            self.line();
        }
        self.out.push(bracket);
    }

    fn line(&mut self) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + 4 * self.depth, b' ');
    }
}

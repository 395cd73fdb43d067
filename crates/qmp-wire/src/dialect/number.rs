//! Numbers, parsed and printed as QEMU does.

use super::value::Value;

/// Returns the value of an integer token: exact within 64 bits, a double beyond.
pub(super) fn integer(token: &str) -> Value {
    if let Ok(number) = token.parse() {
        Value::Int(number)
    } else if let Ok(number) = token.parse() {
        Value::Uint(number)
    } else {
        float(token)
    }
}

/// Returns the value of a token as a double.
pub(super) fn float(token: &str) -> Value {
    Value::Double(token.parse().expect("the lexer passes only numbers"))
}

/// Prints a double as C's `%.17g` does.
pub(super) fn print_double(number: f64, out: &mut Vec<u8>) {
    if !number.is_finite() {
        out.extend_from_slice(if number.is_nan() {
            b"nan"
        } else if number > 0.0 {
            b"inf"
        } else {
            b"-inf"
        });
        return;
    }
    let scientific = format!("{number:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("this format has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    if (-4..17).contains(&exponent) {
        let places = usize::try_from(16 - exponent).expect("an exponent here is at most 16");
        let plain = format!("{number:.places$}");
        out.extend_from_slice(without_trailing_zeros(&plain).as_bytes());
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let text = format!("{}e{sign}{:02}", without_trailing_zeros(mantissa), exponent.abs());
        out.extend_from_slice(text.as_bytes());
    }
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

//! The purpose of a socket in the command line of a QEMU: a QMP monitor, or another device.

use serde_json::Value;

use super::options::{MonitorAt, Options, chardev, short_form};

/// The longest part of an option that is shown, in characters.
const OPTION_SHOWN_MAX: usize = 80;

/// The purpose of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A QMP monitor.
    Monitor,
    /// A device that sends no greeting: the option that uses the socket, such as `-device virtserialport,chardev=qga`.
    Other(String),
}

/// Options with a character device as their value, in the form of `-qmp` or `chardev:ID`.
const DEVICES: [&[u8]; 5] = [b"serial", b"parallel", b"debugcon", b"monitor", b"gdb"];

/// The purpose of the socket that `is_it` accepts; `None` if the command line does not have it.
pub(crate) fn purpose(arguments: &[&[u8]], is_it: impl Fn(&MonitorAt) -> bool) -> Option<Purpose> {
    let mut ids: Vec<Vec<u8>> = Vec::new();
    let mut direct = None;
    for (option, value) in options(arguments) {
        match option {
            b"qmp" | b"qmp-pretty" if is_it(&short_form(value)) => return Some(Purpose::Monitor),
            b"chardev" => {
                let options = Options::read(value, b"backend");
                if let Some(id) = options.text(b"id")
                    && is_it(&chardev(&options))
                {
                    ids.push(id.to_owned());
                }
            }
            option if DEVICES.contains(&option) && is_it(&short_form(value)) => {
                direct = Some(Purpose::Other(shown(option, value)));
            }
            _ => {}
        }
    }
    let users = || ids.iter().filter_map(|id| user(arguments, id));
    users()
        .find(|purpose| *purpose == Purpose::Monitor)
        .or_else(|| users().next())
        .or(direct)
        .or_else(|| ids.first().map(|id| Purpose::Other(shown(b"chardev", id))))
}

/// The purpose of the option that uses the character device with that id.
fn user(arguments: &[&[u8]], id: &[u8]) -> Option<Purpose> {
    let uses = |option: &[u8], value: &[u8]| match option {
        b"chardev" => false,
        b"mon" => Options::read(value, b"chardev").text(b"chardev") == Some(id),
        option if DEVICES.contains(&option) => value.strip_prefix(b"chardev:") == Some(id),
        _ if value.starts_with(b"{") => {
            let device: Value = serde_json::from_slice(value).unwrap_or_default();
            device.get("chardev").and_then(Value::as_str).is_some_and(|chardev| chardev.as_bytes() == id)
        }
        _ => Options::read(value, b"").text(b"chardev") == Some(id),
    };
    let (option, value) = options(arguments).find(|(option, value)| uses(option, value))?;
    let is_qmp = option == b"mon" && Options::read(value, b"chardev").text(b"mode") == Some(b"control");
    Some(if is_qmp { Purpose::Monitor } else { Purpose::Other(shown(option, value)) })
}

/// Each option that may have a value, with the argument that follows it.
fn options<'a>(arguments: &'a [&'a [u8]]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    arguments.windows(2).filter_map(|pair| {
        let option = pair[0].strip_prefix(b"-")?;
        Some((option.strip_prefix(b"-").unwrap_or(option), pair[1]))
    })
}

fn shown(option: &[u8], value: &[u8]) -> String {
    let text = format!("-{} {}", String::from_utf8_lossy(option), String::from_utf8_lossy(value));
    let mut shown: String = text.chars().take(OPTION_SHOWN_MAX).collect();
    if text.chars().nth(OPTION_SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn purpose_is_that_of_the_option_that_uses_the_socket() {
        let chardev = "-chardev socket,id=c,path=/s,server=on,wait=off";
        //  arguments                                                        what the socket /s is for
        let cases: [(&str, Option<&str>); 13] = [
            ("-m 1G", None),
            ("-qmp unix:/s,server=on", Some("monitor")),
            ("-qmp unix:/other,server=on", None),
            (chardev, Some("-chardev c")),
            (&format!("{chardev} -mon chardev=c,mode=control"), Some("monitor")),
            (&format!("{chardev} -mon c,mode=control"), Some("monitor")),
            (&format!("{chardev} -mon chardev=c,mode=readline"), Some("-mon chardev=c,mode=readline")),
            (
                &format!("-device virtserialport,chardev=c,name=org.qemu.guest_agent.0 {chardev}"),
                Some("-device virtserialport,chardev=c,name=org.qemu.guest_agent.0"),
            ),
            (
                &format!("{chardev} -device {{\"driver\":\"virtserialport\",\"chardev\":\"c\"}}"),
                Some("-device {\"driver\":\"virtserialport\",\"chardev\":\"c\"}"),
            ),
            (&format!("{chardev} -serial chardev:c"), Some("-serial chardev:c")),
            ("-serial unix:/s,server=on,wait=off", Some("-serial unix:/s,server=on,wait=off")),
            (&format!("{chardev} -device virtserialport,chardev=d"), Some("-chardev c")),
            ("-chardev socket,id=c,path=/other,server=on -mon c,mode=control", None),
        ];
        for (arguments, expected) in cases {
            let words: Vec<&[u8]> = arguments.split_whitespace().map(str::as_bytes).collect();
            let found = purpose(&words, |at| *at == MonitorAt::Unix(Path::new("/s").to_owned()));
            let found = found.map(|purpose| match purpose {
                Purpose::Monitor => "monitor".to_owned(),
                Purpose::Other(option) => option,
            });
            assert_eq!(found.as_deref(), expected, "{arguments}");
        }
    }
}

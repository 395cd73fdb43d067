//! `ADDR|NAME`: the address of a monitor, or a VM of the hub.

use std::convert::Infallible;
use std::path::Path;
use std::str::FromStr;

use qmp_client::{Address, AddressError};
use qmp_wire::QualifiedName;

/// The VM of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A monitor's socket; recognized by `:` or `/`, unless it is the name of a VM of another host.
    Address(Result<Address, AddressError>),
    /// The name of a VM of the hub, or a pattern of names.
    Name(String),
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        // `HOST/VM` is also a relative path.
        let is_path = text.contains('/') && (is_never_qualified(text) || Path::new(text).exists());
        if text.contains(':') || is_path {
            return Ok(Self::Address(text.parse()));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// Whether the text cannot be the name of a VM of another host.
fn is_never_qualified(text: &str) -> bool {
    text.starts_with('.') || QualifiedName::parse(text).is_none()
}

/// Names for VMs with only an address: the socket's file name without its extension if those are distinct, else the
/// address.
pub fn names_of(addresses: &[Address]) -> Vec<String> {
    let short: Vec<Option<String>> = addresses.iter().map(short_name).collect();
    let is_unique = |name: &Option<String>| short.iter().filter(|other| *other == name).count() == 1;
    let full = addresses.iter().map(Address::to_string);
    short
        .iter()
        .zip(full)
        .map(|(name, full)| name.clone().filter(|_| is_unique(name)).unwrap_or(full))
        .collect()
}

fn short_name(address: &Address) -> Option<String> {
    match address {
        Address::Unix { path, .. } => Some(path.file_stem()?.to_str()?.to_owned()),
        Address::Tcp { .. } | Address::Fd { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_recognized_by_colon_or_slash() {
        let cases = [
            ("web1", false),
            ("web*", false),
            ("vm.sock", false),
            ("node1/web1", false),
            ("src/main.rs", true),
            ("./vm.sock", true),
            ("../vm.sock", true),
            ("/run/vm.sock", true),
            ("unix:vm.sock", true),
            ("tcp:127.0.0.1:4444", true),
            ("fd:3", true),
            ("host:4444", true),
        ];
        for (text, is_address) in cases {
            let target: Target = text.parse().unwrap();
            assert_eq!(matches!(target, Target::Address(_)), is_address, "{text}");
        }
        assert!(matches!("host:4444".parse(), Ok(Target::Address(Err(_)))), "a malformed address");
    }

    #[test]
    fn name_is_short_if_it_is_distinct() {
        let cases: [(&[&str], &[&str]); 3] = [
            (&["/run/web1.sock", "unix:/run/web2.qmp"], &["web1", "web2"]),
            (&["/a/vm.sock", "/b/vm.sock", "/b/c.sock"], &["unix:/a/vm.sock", "unix:/b/vm.sock", "c"]),
            (&["tcp:127.0.0.1:4444"], &["tcp:127.0.0.1:4444"]),
        ];
        for (addresses, expected) in cases {
            let addresses: Vec<Address> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(names_of(&addresses), expected);
        }
    }
}

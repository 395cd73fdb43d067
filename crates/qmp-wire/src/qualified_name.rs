//! Names of VMs of other hosts: `HOST/VM`, a qualified name.
//!
//! A journal keys a VM of its own host by the VM's name, and a VM of another host by its qualified name. The name of a VM
//! has no `/`, so the first one divides a qualified name. A text whose part before the `/` is no host name is not
//! qualified: it is the name of a VM, as older journals may have it.

use std::fmt;

use memchr::memchr;

/// The longest name of a host, in bytes: that of a domain name.
pub const HOST_NAME_MAX_BYTES: usize = 253;

/// The name of a VM of another host, in its parts.
///
/// A host whose journal was created again, and counts its epochs from 1 again, has the suffix `~2`, `~3` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QualifiedName<'a> {
    /// The name of the host.
    pub host: &'a str,
    /// The name of the VM.
    pub vm: &'a str,
}

/// Errors of the name of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no host name: use 1 to {HOST_NAME_MAX_BYTES} letters, digits, '.', '_' and '-', the first of them a \
     letter or digit"
)]
pub struct HostNameError {
    /// The text.
    pub name: Box<str>,
}

impl<'a> QualifiedName<'a> {
    /// Divides the name by which a journal keys a VM; `None` for a VM of the journal's own host.
    #[inline]
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        let slash = memchr(b'/', name.as_bytes())?;
        let (host, vm) = (&name[..slash], &name[slash + 1..]);
        (is_host_name(host, true) && !vm.is_empty()).then_some(Self { host, vm })
    }

    /// Joins the parts; `None` if they do not make a qualified name.
    #[must_use]
    pub fn join(host: &str, vm: &str) -> Option<String> {
        (is_host_name(host, true) && !vm.is_empty()).then(|| format!("{host}/{vm}"))
    }

    /// The host, if there is one, and the name of the VM on it.
    #[inline]
    #[must_use]
    pub fn divide(name: &'a str) -> (Option<&'a str>, &'a str) {
        Self::parse(name).map_or((None, name), |Self { host, vm }| (Some(host), vm))
    }
}

impl fmt::Display for QualifiedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.vm)
    }
}

/// Checks a name that a host gives itself, which has no suffix.
///
/// # Errors
///
/// [`HostNameError`] unless it has 1 to 253 characters of `A-Z a-z 0-9 . _ -`, the first a letter or digit.
pub fn check_host_name(name: &str) -> Result<(), HostNameError> {
    if is_host_name(name, false) { Ok(()) } else { Err(HostNameError { name: name.into() }) }
}

#[inline]
fn is_host_name(name: &str, with_suffix: bool) -> bool {
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') || (byte == b'~' && with_suffix)
    };
    name.len() <= HOST_NAME_MAX_BYTES
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn qualified_name_is_divided_at_first_slash_after_host_name() {
        let (long, longest) = ("h".repeat(254) + "/a", "h".repeat(253) + "/a");
        let cases: [(&str, Option<&str>, &str); 13] = [
            // name            host             vm
            ("web1", None, "web1"),
            ("node1/web1", Some("node1"), "web1"),
            ("node1~2/web1", Some("node1~2"), "web1"),
            ("10.0.0.7/100", Some("10.0.0.7"), "100"),
            ("a/b/c", Some("a"), "b/c"),
            (&longest, Some(&longest[..253]), "a"),
            (&long, None, &long),
            ("", None, ""),
            ("/web1", None, "/web1"),
            ("node1/", None, "node1/"),
            ("~2/web1", None, "~2/web1"),
            ("a b/web1", None, "a b/web1"),
            ("é/web1", None, "é/web1"),
        ];
        for (name, host, vm) in cases {
            assert_eq!(QualifiedName::divide(name), (host, vm), "{name}");
            let joined = host.and_then(|host| QualifiedName::join(host, vm));
            assert_eq!(joined.as_deref(), host.map(|_| name), "{name}");
        }
        for (host, vm) in [("", "web1"), ("a/b", "web1"), ("node1", ""), ("-", "web1")] {
            assert_eq!(QualifiedName::join(host, vm), None, "{host}/{vm}");
        }
    }

    #[test]
    fn host_name_of_a_configuration_has_no_suffix() {
        for name in ["node1", "Node-1.example_org", "7"] {
            assert_eq!(check_host_name(name), Ok(()), "{name}");
        }
        for name in ["", "node1~2", ".node", "a/b", "a b", "é", &"h".repeat(254)] {
            assert!(check_host_name(name).is_err(), "{name}");
        }
    }

    proptest! {
        /// Dividing a name and joining its parts does not change it.
        #[test]
        fn divided_name_joins_to_the_same(name in "[a-z0-9/~. é-]{0,12}") {
            if let Some(parts) = QualifiedName::parse(&name) {
                prop_assert_eq!(parts.to_string(), name.clone());
                prop_assert_eq!(QualifiedName::join(parts.host, parts.vm), Some(name));
            }
        }
    }
}

//! Releases in the notation of the catalogue: `7.2`, and `10.2.2` for stable ones.

use std::fmt;

use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Release {
    pub(crate) major: u16,
    pub(crate) minor: u16,
    pub(crate) micro: Option<u16>,
}

impl Release {
    /// Returns the release without its micro number.
    pub(crate) fn line(self) -> Self {
        Self { micro: None, ..self }
    }
}

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let numbers: Option<Vec<u16>> = text.split('.').map(|part| part.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[major, minor]) => Ok(Self { major, minor, micro: None }),
            Some(&[major, minor, micro]) => Ok(Self { major, minor, micro: Some(micro) }),
            _ => Err(format!("{text:?} is not a release: write it as \"7.2\" or \"7.2.22\"")),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)?;
        self.micro.map_or(Ok(()), |micro| write!(formatter, ".{micro}"))
    }
}

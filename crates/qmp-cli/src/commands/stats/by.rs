//! By what `qmp stats` counts: a facet of the hub, or a member of the records' data.

use std::str::FromStr;

use qmp_history::Facet;

/// By what records are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum By {
    Facet(Facet),
    /// The path of a member, without its leading `data`.
    Member {
        name: Box<str>,
        path: Vec<Box<str>>,
    },
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(facet) = Facet::ALL.into_iter().find(|facet| facet.name() == text) {
            return Ok(Self::Facet(facet));
        }
        if let Some(path) = text.strip_prefix("data.") {
            let path: Vec<Box<str>> = path.split('.').map(Box::from).collect();
            if path.iter().all(|key| !key.is_empty()) {
                return Ok(Self::Member { name: text.into(), path });
            }
        }
        let known = Facet::ALL.map(Facet::name).join(", ");
        Err(format!("expected one of {known}, or a member of the data, such as data.node-name"))
    }
}

impl By {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Facet(facet) => facet.name(),
            Self::Member { name, .. } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facet_or_member_is_read() {
        for (text, expected) in [
            ("event", Some("event")),
            ("data.node-name", Some("data.node-name")),
            ("data.info.type", Some("data.info.type")),
            ("data.", None),
            ("data", None),
            ("node-name", None),
        ] {
            let by = text.parse::<By>();
            assert_eq!(by.as_ref().ok().map(By::name), expected, "{text}");
        }
    }
}

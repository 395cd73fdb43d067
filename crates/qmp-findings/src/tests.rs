//! The findings in stories of VMs.

use super::KINDS;

mod checkpoint;
mod commands;
mod continued;
mod hosts;
mod ignored;
mod interrupted;
mod jobs;
mod libvirt;
mod migrations;
mod missing;
mod often;
mod oracle;
mod questions;
mod replay;
mod rest;
mod sequels;
mod state_alerts;
mod state_table;
mod unseen_end;
mod why;

/// `docs/findings.md` has a section for each kind, and no other.
#[test]
fn docs_have_a_section_for_each_kind() {
    let page = include_str!("../../../docs/findings.md");
    let heads = page.lines().filter_map(|line| line.strip_prefix("## "));
    let mut described: Vec<&str> =
        heads.flat_map(|head| head.split(", ")).map(|kind| kind.trim_matches('`')).collect();
    let mut kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    described.sort_unstable();
    kinds.sort_unstable();
    assert_eq!(described, kinds);
}

/// `docs/findings.md` names every cause.
#[test]
fn docs_name_every_cause() {
    let page = include_str!("../../../docs/findings.md");
    let missing: Vec<&str> =
        super::why::CAUSES.into_iter().filter(|cause| !page.contains(&format!("`{cause}`"))).collect();
    assert_eq!(missing, [""; 0]);
}

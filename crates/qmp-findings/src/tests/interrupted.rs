//! Postcopy migrations whose connection broke.

use super::super::testing::{findings, found, story};

#[test]
fn postcopy_that_is_paused_is_reported_at_once() {
    let active = "1 MIGRATION {\"status\": \"active\"}\n2 MIGRATION {\"status\": \"postcopy-active\"}\n";
    let paused = "MIGRATION {\"status\": \"postcopy-paused\"}";
    let recover = "MIGRATION {\"status\": \"postcopy-recover\"}";
    let end = "MIGRATION {\"status\": \"completed\"}";
    let cases: [(&str, String, &[&str]); 7] = [
        ("source", format!("0 attached running\n{active}3 {paused}"), &["migration-interrupted 1.3"]),
        ("destination", format!("0 attached inmigrate\n{active}3 {paused}"), &["migration-interrupted 1.3"]),
        (
            "recovered and over",
            format!(
                "0 attached running\n{active}3 {paused}\n4 {recover}\n5 MIGRATION {{\"status\": \"postcopy-active\"}}\n6 {end}"
            ),
            &["migration-interrupted 1.3", "migration 1.1,1.2,1.3,1.4,1.5,1.6"],
        ),
        (
            "interrupted again",
            format!("0 attached running\n{active}3 {paused}\n4 {recover}\n5 {paused}"),
            &["migration-interrupted 1.3", "migration-interrupted 1.5"],
        ),
        (
            "sent twice",
            format!("0 attached running\n{active}3 {paused}\n4 {paused}"),
            &["migration-interrupted 1.3"],
        ),
        (
            "seen when the epoch opens",
            "0 attached finish-migrate/postcopy-paused".to_owned(),
            &["migration-interrupted 1.0"],
        ),
        (
            "known from the epoch before",
            format!(
                "0 attached running\n{active}3 {paused}\n4 detached hub stopped\n5 attached finish-migrate/postcopy-paused"
            ),
            &["migration-interrupted 1.3", "migration 1.1,1.2,1.3,1.4"],
        ),
    ];
    for (name, text, expected) in cases {
        let found: Vec<String> = found(&text)
            .into_iter()
            .filter(|finding| finding.starts_with("migration"))
            .map(|finding| {
                let words: Vec<&str> = finding.split(' ').collect();
                format!("{} {}", words[0], words[2])
            })
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn interruption_names_the_recovery_of_each_side() {
    let summary = |text: &str| {
        let found = findings(&story(text));
        let finding = found.iter().find(|finding| finding.kind == "migration-interrupted").unwrap();
        format!("{}: {}", finding.data["direction"], finding.summary)
    };
    let paused = "1 MIGRATION {\"status\": \"postcopy-paused\"}";
    insta::assert_snapshot!(summary(&format!("0 attached running\n{paused}")), @r#""outgoing": The migration away was interrupted after the switch (postcopy), and each side has memory that the other needs: end neither. To recover it: `migrate-recover` with a new `uri` on the destination, then `migrate` with that `uri` and `resume: true` here."#);
    insta::assert_snapshot!(summary(&format!("0 attached inmigrate\n{paused}")), @r#""incoming": The migration to here was interrupted after the switch (postcopy), and each side has memory that the other needs: end neither. To recover it: `migrate-recover` with a new `uri` here, then `migrate` with that `uri` and `resume: true` on the source."#);
    assert_eq!(
        summary("0 attached running/postcopy-paused"),
        summary(&format!("0 attached inmigrate\n{paused}"))
    );
    assert_eq!(
        summary("0 attached finish-migrate/postcopy-paused"),
        summary(&format!("0 attached running\n{paused}"))
    );
}

#[test]
fn interruption_after_arrival_without_the_capability_is_of_the_migration_away() {
    let text = "0 attached inmigrate\n1 MIGRATION {\"status\": \"setup\"}\n2 RESUME\n\
        60 MIGRATION {\"status\": \"setup\"}\n61 MIGRATION {\"status\": \"postcopy-paused\"}";
    let found = findings(&story(text));
    let finding = found.iter().find(|finding| finding.kind == "migration-interrupted").unwrap();
    assert_eq!(finding.data["direction"], "outgoing");
}

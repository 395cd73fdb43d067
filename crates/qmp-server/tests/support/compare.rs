//! Compares the monitor with the recorded output of a real QEMU.

use std::{fs, os::unix::net::UnixStream, path::PathBuf};

use super::{
    exchange::{Exchange, parse},
    machine,
};

/// Returns the directory of inputs and recordings.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/exchanges")
}

/// Returns the inputs.
pub fn inputs() -> Vec<Exchange> {
    parse(&fs::read_to_string(directory().join("inputs.txt")).unwrap())
}

/// Returns the version and the package of a greeting.
pub fn claimed(exchanges: &[Exchange]) -> ((u32, u32, u32), String) {
    let greeting: serde_json::Value = serde_json::from_str(&exchanges[0].output[0]).unwrap();
    let version = &greeting["QMP"]["version"];
    let number = |name: &str| u32::try_from(version["qemu"][name].as_u64().unwrap()).unwrap();
    let package = version["package"].as_str().unwrap().to_owned();
    ((number("major"), number("minor"), number("micro")), package)
}

/// Sends the same input to the monitor and compares the output.
pub fn compare(recorded: &[Exchange], source: &str) {
    let (version, package) = claimed(recorded);
    let monitor = machine::monitor(version, &package).spawn().unwrap();
    let mut differences = Vec::new();
    for exchange in recorded {
        let (ours, theirs) = UnixStream::pair().unwrap();
        monitor.attach(theirs);
        let output = exchange.run(ours);
        if output != exchange.output {
            differences.push(format!(
                "{}\n  sent: {:?}\n  {source}:\n    {}\n  ours:\n    {}",
                exchange.name,
                exchange.chunks,
                exchange.output.join("\n    "),
                output.join("\n    "),
            ));
        }
    }
    let count = differences.len();
    assert!(differences.is_empty(), "{count} of {} differ\n{}", recorded.len(), differences.join("\n"));
    monitor.stop().unwrap();
}

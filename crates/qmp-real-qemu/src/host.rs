//! The host on which the tests run.

/// Whether this Linux tells strangers how a process ended: 6.15 and later do.
#[must_use]
pub fn tells_how_processes_end() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let numbers: Vec<u32> = release.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    numbers.as_slice() >= [6, 15].as_slice()
}

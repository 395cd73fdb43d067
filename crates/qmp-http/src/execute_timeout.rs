//! The parameter `timeout` of a command: how long the client waits for the VM's reply.

use std::time::Duration;

use super::error::ApiError;
use super::query::refuse_repeated;

/// How long the hub waits for a reply by default. Most commands take milliseconds; work of more than a minute runs as a
/// job, or its client sets `timeout`.
const EXECUTE_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest `timeout`, in seconds: a day. 0 waits for ever.
const EXECUTE_TIMEOUT_MAX_SECONDS: u64 = 86_400;

/// Reads the parameters of a command; `None` waits for ever.
pub(super) fn read(parameters: &[(String, String)]) -> Result<Option<Duration>, ApiError> {
    let mut timeout = Some(EXECUTE_TIMEOUT);
    for (name, value) in parameters {
        if name != "timeout" {
            return Err(ApiError::bad_request(format!("unknown parameter {name:?}; known: timeout")));
        }
        timeout = seconds(value)?;
    }
    refuse_repeated(parameters, &[])?;
    Ok(timeout)
}

fn seconds(value: &str) -> Result<Option<Duration>, ApiError> {
    let seconds = value.parse().ok().filter(|seconds| *seconds <= EXECUTE_TIMEOUT_MAX_SECONDS);
    match seconds {
        Some(0) => Ok(None),
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(ApiError::bad_request(format!(
            "timeout={value}: expected whole seconds up to {EXECUTE_TIMEOUT_MAX_SECONDS}; 0 waits for ever"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_is_read_as_whole_seconds() {
        let wrong = "timeout=";
        //  value       seconds, or the beginning of the error
        let cases = [
            ("0", Ok(None)),
            ("1", Ok(Some(1))),
            ("86400", Ok(Some(86_400))),
            ("86401", Err(wrong)),
            ("-1", Err(wrong)),
            ("2.5", Err(wrong)),
            ("", Err(wrong)),
            ("60s", Err(wrong)),
        ];
        for (value, expected) in cases {
            let read = read(&[("timeout".to_owned(), value.to_owned())]);
            match expected {
                Ok(seconds) => assert_eq!(read.expect(value), seconds.map(Duration::from_secs), "{value}"),
                Err(text) => assert!(read.expect_err(value).desc.starts_with(text), "{value}"),
            }
        }
        assert_eq!(read(&[]).expect("no parameter"), Some(EXECUTE_TIMEOUT));
        let refused = read(&[("timout".to_owned(), "1".to_owned())]).expect_err("unknown");
        assert_eq!(refused.desc, "unknown parameter \"timout\"; known: timeout");
    }
}

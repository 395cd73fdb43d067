//! Why a command failed, in the words of a reply.

use qmp_client::ExecuteError;

/// Class and description of the error reply; `None` if the VM detached, after which the connection is closed.
pub(super) fn of(error: &ExecuteError) -> Option<(Box<str>, Box<str>)> {
    match error {
        ExecuteError::Refused(refused) => Some((refused.class.clone(), refused.desc.clone())),
        ExecuteError::Closed { .. } | ExecuteError::NotAttached => None,
        other => {
            Some(("GenericError".into(), format!("The relay did not pass the command on: {other}").into()))
        }
    }
}

/// The description of the error reply to a request that the VM will not answer.
pub(super) fn no_reply(why: &impl std::fmt::Display) -> String {
    format!("The VM gave no reply, and the relay closes this connection: {why}")
}

/// An error without a request, for instance in place of the greeting of a client that is not served.
pub(super) fn without_request(desc: &str) -> Vec<u8> {
    let error = serde_json::json!({"error": {"class": "GenericError", "desc": desc}});
    format!("{error}\r\n").into_bytes()
}

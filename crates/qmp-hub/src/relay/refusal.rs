//! Why a command failed, in the words of a reply.

use qmp_client::ExecuteError;

/// Class and description of the error reply; `None` if the VM is away, which the end of the connection tells.
pub(super) fn of(error: &ExecuteError) -> Option<(Box<str>, Box<str>)> {
    match error {
        ExecuteError::Refused(refused) => Some((refused.class.clone(), refused.desc.clone())),
        ExecuteError::Gone { .. } | ExecuteError::NotAttached => None,
        other => {
            Some(("GenericError".into(), format!("The relay did not pass the command on: {other}").into()))
        }
    }
}

//! The machine's errors, by class.

use qmp_server::Refusal;

/// Creates an error of class `GenericError`.
#[expect(clippy::needless_pass_by_value, reason = "usable with map_err")]
pub(crate) fn generic(error: impl ToString) -> Refusal {
    Refusal::generic(error.to_string())
}

/// Creates an error of class `DeviceNotFound`.
pub(crate) fn device_not_found(id: &str) -> Refusal {
    Refusal { class: "DeviceNotFound", desc: format!("Device '{id}' not found") }
}

/// Creates an error of class `DeviceNotActive`.
pub(crate) fn device_not_active(desc: impl Into<String>) -> Refusal {
    Refusal { class: "DeviceNotActive", desc: desc.into() }
}

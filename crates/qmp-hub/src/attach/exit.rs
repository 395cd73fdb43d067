//! How a VM's process ended, as a record.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use qmp_client::PeerProcess;
use qmp_findings::{PROCESS_ENDED, assert_listed};
use qmp_host::clock::Clock;
use qmp_journal::{Appender, Batch, Draft};
use qmp_wire::Body;
use serde_json::json;

use crate::vm::VmName;

/// Waits for the end of the process and appends its exit status to the records of the VM. If the system does not report
/// it, there is no record.
pub(super) async fn record(process: PeerProcess, vm: VmName, appender: Appender, clock: Clock) {
    let pid = process.pid();
    if let Some(status) = process.wait_for_exit().await {
        append(pid, status, &vm, &appender, clock).await;
    }
}

/// Appends the exit status of a process to the records of its VM.
pub(crate) async fn append(pid: i32, status: ExitStatus, vm: &VmName, appender: &Appender, clock: Clock) {
    let (summary, data) = match (status.code(), status.signal()) {
        (_, Some(signal)) => {
            let data = json!({"pid": pid, "signal": signal, "core_dumped": status.core_dumped()});
            (format!("process {pid} was ended by signal {signal}"), data)
        }
        (code, None) => (
            format!("process {pid} exited with status {}", code.unwrap_or_default()),
            json!({"pid": pid, "exit_code": code}),
        ),
    };
    data.as_object().into_iter().for_each(|data| assert_listed(PROCESS_ENDED, data));
    let data = Some(data.to_string().into());
    let (finding, causes) = (PROCESS_ENDED.into(), Vec::new());
    let body = Body::Finding { finding, summary: summary.into(), causes, data };
    let mut batch = Batch::new();
    batch.push(&Draft { vm: vm.as_str(), received: clock.now(), body });
    // A journal that has ended accepts no records, which is logged there.
    let _ = appender.append_when_room(&mut batch).await;
}

//! The progress of the first attachments, on a terminal.

use std::convert::Infallible;
use std::time::Duration;

use qmp_daemon::Daemon;
use tokio::time::{Instant, sleep};

use crate::progress::Progress;
use crate::terminal::Terminal;

/// Fewer VMs are attached at once.
const VMS_MIN: usize = 20;

/// How often the number is read.
const READ_EVERY: Duration = Duration::from_millis(100);

/// The other VMs do not run, if none was attached for so long.
const NONE_FOR: Duration = Duration::from_secs(3);

/// Shows how many VMs are attached, until all are, or those that run. Then waits for ever.
pub(super) async fn show(hub: &Daemon, terminal: &Terminal) -> Infallible {
    if terminal.stderr_is_terminal() {
        follow(hub, terminal).await;
    }
    std::future::pending().await
}

async fn follow(hub: &Daemon, terminal: &Terminal) {
    let mut progress = Progress::new(terminal, "attaching");
    let (mut before, mut grown) = (0, Instant::now());
    while grown.elapsed() < NONE_FOR {
        let (attached, all) = hub.attached();
        if attached != before {
            (before, grown) = (attached, Instant::now());
        }
        if all < VMS_MIN || attached == all {
            return;
        }
        progress.done(attached as u64, all as u64, "VMs");
        sleep(READ_EVERY).await;
    }
}

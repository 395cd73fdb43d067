//! Follows a VM for ever and brings its jobs to their end: `cargo run -p qmp-client --example finish_jobs unix:/run/vm.sock`.
//!
//! A job that is ready is completed, a pending one is finalized, a concluded one is dismissed. The program survives a VM
//! that is not started yet, ends, restarts, breaks the protocol or does not reply, and events that are lost or unknown.

use std::{collections::BTreeSet, error::Error, time::Duration};

use qmp_client::{
    Address, Commander, ExecuteError, FollowConfig, FollowItem, JobEnd,
    commands::{JobComplete, JobDismiss, JobFinalize, QueryJobs, QueryStatus},
    follow_stream,
    qmp_events::{Event, JobStatus},
};
use tokio::task::JoinSet;

/// How long a command may take. Without it, a VM that hangs holds up the job for as long as it keeps the connection.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: finish_jobs ADDRESS")?.parse()?;
    tokio::select! {
        () = finish_jobs(address, FollowConfig::default(), |line| println!("{line}")) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// Finishes the jobs of a VM until the follower ends, which it does only if `config` limits its attempts.
pub async fn finish_jobs(address: Address, config: FollowConfig, mut report: impl FnMut(String)) {
    let (commander, mut items) = follow_stream(address, config);
    let mut jobs = Jobs {
        commander: commander.with_timeout(COMMAND_TIMEOUT),
        ids: BTreeSet::new(),
        tasks: JoinSet::new(),
    };
    loop {
        tokio::select! {
            // The events before a reply are in the stream when the reply arrives: they go first.
            biased;
            item = items.next() => match item {
                Some(item) => jobs.item(item, &mut report).await,
                None => return,
            },
            Some(done) = jobs.tasks.join_next() => {
                let Ok((id, result)) = done else { continue };
                jobs.ids.remove(&id);
                // After an error, the next event of the job or the list at the next attach starts another task.
                report(format!("{id}: {}", result.unwrap_or_else(|error| error.to_string())));
            }
        }
    }
}

/// The jobs that are being finished, each by a task.
struct Jobs {
    commander: Commander,
    ids: BTreeSet<Box<str>>,
    tasks: JoinSet<(Box<str>, Result<String, ExecuteError>)>,
}

impl Jobs {
    async fn item(&mut self, item: FollowItem, report: &mut impl FnMut(String)) {
        match item {
            FollowItem::Attached { .. } => self.attached(report).await,
            FollowItem::Event(event) => match Event::try_from(&event) {
                Ok(Event::JobStatusChange(change)) if change.status != JobStatus::Null => {
                    self.start(change.id)
                }
                Ok(Event::Shutdown(shutdown)) => {
                    let cause =
                        shutdown.reason.map_or_else(|| "unknown".to_owned(), |reason| reason.to_string());
                    report(format!("the VM shuts down: {cause}"));
                }
                Ok(_) => {}
                Err(error) => report(format!("{}: {error}", event.name)),
            },
            FollowItem::Lagged { missed } => {
                report(format!("{missed} items were dropped"));
                self.list(report).await;
            }
            FollowItem::Detached { reason, .. } => report(format!("detached: {reason}")),
            FollowItem::Failed { error, retry_in: Some(delay), .. } => {
                report(format!("{error}; retries in {delay:?}"))
            }
            FollowItem::Failed { error, .. } => report(error.to_string()),
            _ => {}
        }
    }

    /// Commands can be executed between two items: `follow_stream` has a task of its own.
    async fn attached(&mut self, report: &mut impl FnMut(String)) {
        match self.commander.run(&QueryStatus::new()).await {
            Ok(status) => report(format!("attached: {}", status.status)),
            Err(error) => report(format!("attached, and no status: {error}")),
        }
        self.list(report).await;
    }

    /// Finishes the jobs that began before this program was attached, or whose events were lost.
    async fn list(&mut self, report: &mut impl FnMut(String)) {
        match self.commander.run(&QueryJobs::new()).await {
            Ok(jobs) => jobs.into_iter().for_each(|job| self.start(job.id)),
            Err(error) => report(format!("no list of jobs: {error}")),
        }
    }

    fn start(&mut self, id: Box<str>) {
        if self.ids.insert(id.clone()) {
            let commander = self.commander.clone();
            self.tasks.spawn(async move {
                let result = finish(&commander, &id).await;
                (id, result)
            });
        }
    }
}

/// Gives a job each command that it needs, and returns how it ended.
async fn finish(commander: &Commander, id: &str) -> Result<String, ExecuteError> {
    let mut end = commander.wait_for_job(id).await?;
    if matches!(end, JobEnd::Dismissed { last: None }) {
        // It was listed or had an event before, so it is not one that does not exist yet.
        return Ok("not listed any more: it ended before the first query, or the VM was restarted".to_owned());
    }
    loop {
        end = match end {
            JobEnd::Ready(_) => {
                commander.run(&JobComplete::new(id)).await?;
                commander.wait_for_job_past(id, JobStatus::Ready).await?
            }
            JobEnd::Pending(_) => {
                commander.run(&JobFinalize::new(id)).await?;
                commander.wait_for_job_past(id, JobStatus::Pending).await?
            }
            JobEnd::Concluded(job) => {
                commander.run(&JobDismiss::new(id)).await?;
                return Ok(job
                    .error
                    .map_or_else(|| "succeeded".to_owned(), |error| format!("failed: {error}")));
            }
            _ => return Ok("ended; its result was in an event".to_owned()),
        };
    }
}

//! Waiting for the end of a background job.

use std::time::Duration;

use qmp_events::JobStatus;
use tokio::time::timeout;

use crate::commander::Commander;
use crate::execute_error::ExecuteError;
use crate::generated::commands::{BlockJobInfo, JobInfo, QueryBlockJobs, QueryJobs};
use crate::monitor_client::MonitorClient;

/// How long a waiting caller relies on events alone. An event queries the jobs at once; this bounds the delay if the event
/// was lost.
const JOB_QUERY_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest pause between two queries, so that a storm of events causes no storm of queries.
const JOB_QUERY_PAUSE: Duration = Duration::from_millis(20);

/// The result of waiting for a job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum JobEnd {
    /// The job is ready: [`JobComplete`](crate::commands::JobComplete) completes it. Mirrors and active commits get here.
    Ready(JobInfo),
    /// The job is pending, because it was started with `auto-finalize: false`:
    /// [`JobFinalize`](crate::commands::JobFinalize) finalizes it.
    Pending(JobInfo),
    /// The job is concluded and still listed: [`JobDismiss`](crate::commands::JobDismiss) dismisses it. Its `error` is
    /// `None` if it succeeded.
    Concluded(JobInfo),
    /// The job is not listed any more. A job with `auto-dismiss` (the default of block jobs) leaves the list when it
    /// concludes, and its result is in the event `BLOCK_JOB_COMPLETED` or `BLOCK_JOB_CANCELLED` only: start it with
    /// `auto-dismiss: false` to get [`Concluded`](Self::Concluded).
    Dismissed {
        /// The job when it was last listed; `None` if it was never listed while this waited. From
        /// [`Commander::wait_for_job`], `None` means that the job does not exist yet, ended before the first query, or is
        /// one of a VM that was restarted.
        last: Option<JobInfo>,
    },
}

impl Commander {
    /// Waits until a job is concluded or not listed, or needs a command to go on. Cancel safe.
    ///
    /// Queries `query-jobs` (before QEMU 3.0 `query-block-jobs`) after each event, and once a second. A job that is not
    /// listed from the start returns `Dismissed` with `last: None`: for the job of another client, call this once
    /// `JOB_STATUS_CHANGE` names it or `query-jobs` lists it. The [guide](crate::guide) has an example.
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`] of the query; the job goes on.
    pub async fn wait_for_job(&self, id: &str) -> Result<JobEnd, ExecuteError> {
        self.wait_ignoring(id, None).await
    }

    /// As [`wait_for_job`](Self::wait_for_job), after the command for a job that was `Ready` or `Pending`: does not
    /// return while the job still has that status.
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`] of the query; the job goes on.
    pub async fn wait_for_job_past(&self, id: &str, status: JobStatus) -> Result<JobEnd, ExecuteError> {
        self.wait_ignoring(id, Some(status)).await
    }

    async fn wait_ignoring(&self, id: &str, ignored: Option<JobStatus>) -> Result<JobEnd, ExecuteError> {
        let mut last = None;
        loop {
            // Registered before the query, so that an event between query and wait is not missed.
            let event = self.next_event();
            let Some(job) = self.find_job(id).await? else { return Ok(JobEnd::Dismissed { last }) };
            match job.status {
                _ if ignored.as_ref() == Some(&job.status) => last = Some(job),
                JobStatus::Ready => return Ok(JobEnd::Ready(job)),
                JobStatus::Pending => return Ok(JobEnd::Pending(job)),
                JobStatus::Concluded => return Ok(JobEnd::Concluded(job)),
                _ => last = Some(job),
            }
            tokio::time::sleep(JOB_QUERY_PAUSE).await;
            let _ = timeout(JOB_QUERY_INTERVAL, event).await;
        }
    }

    /// The job as it is listed; `None` if it is not.
    async fn find_job(&self, id: &str) -> Result<Option<JobInfo>, ExecuteError> {
        match self.run(&QueryJobs::new()).await {
            Ok(jobs) => Ok(jobs.into_iter().find(|job| *job.id == *id)),
            Err(ExecuteError::Refused(error)) if &*error.class == "CommandNotFound" => {
                match self.run(&QueryBlockJobs::new()).await {
                    Ok(jobs) => Ok(jobs.into_iter().find(|job| *job.device == *id).map(job_of_block_job)),
                    // A server without jobs: the error names the command of all newer releases.
                    Err(ExecuteError::Refused(other)) if &*other.class == "CommandNotFound" => {
                        Err(ExecuteError::Refused(error))
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

impl MonitorClient {
    /// Waits until a job is concluded or not listed, or needs a command to go on; see [`Commander::wait_for_job`].
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`] of the query; the job goes on.
    pub async fn wait_for_job(&self, id: &str) -> Result<JobEnd, ExecuteError> {
        self.commander().wait_for_job(id).await
    }

    /// As [`wait_for_job`](Self::wait_for_job), after a command for the job; see [`Commander::wait_for_job_past`].
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`] of the query; the job goes on.
    pub async fn wait_for_job_past(&self, id: &str, status: JobStatus) -> Result<JobEnd, ExecuteError> {
        self.commander().wait_for_job_past(id, status).await
    }
}

/// The job that a release without `query-jobs` describes.
fn job_of_block_job(job: BlockJobInfo) -> JobInfo {
    let status = job.status.unwrap_or(match (job.ready, job.paused) {
        (Some(true), _) => JobStatus::Ready,
        (_, Some(true)) => JobStatus::Paused,
        _ => JobStatus::Running,
    });
    JobInfo {
        id: job.device,
        r#type: job.r#type,
        status,
        current_progress: job.offset,
        total_progress: job.len,
        error: job.error,
    }
}

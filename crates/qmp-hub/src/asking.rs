//! Queries to VMs about facts without an event: the driver of the correlators' questions.
//!
//! The observer offers each [`Question`]. A task for the VM waits until no pending command of a client may be the explanation,
//! checks that the question is still open, sends the query once, and appends the answer as a record of the kind `query`:
//! after the events that the VM sent before the answer, and before later ones.
//!
//! A VM has one question in progress at a time, and the newest waiting one is next; the correlators limit how often one is
//! raised ([`QUESTIONS_BURST`](qmp_findings::QUESTIONS_BURST)). The answer goes to the journal only: no client gets it. A task
//! ends with its VM, with the observer, or by its own time limits.

mod answer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use qmp_client::ExecuteError;
use qmp_findings::{LIBVIRT_STATE, Question};
use qmp_host::clock::Clock;
use qmp_host::lock;
use qmp_journal::{Appender, Batch};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use answer::{AnswerSink, record};

use crate::observer::VmStates;
use crate::registry::Vms;
use crate::vm::FollowedVm;

/// Questions in progress at a time, of all VMs. A host that stops all its VMs raises one for each at once; each occupies the
/// monitor for milliseconds.
const QUESTIONS_AT_ONCE_MAX: usize = 256;

/// How long the answer may take: as long as the snapshot of a VM.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a question waits for the end of a client's command. The correlators have dropped it by then.
const COMMAND_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a task waits until the observer has read the records that were appended before.
const READ_WAIT_MAX: Duration = Duration::from_secs(1);

/// Sends queries to VMs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Asker {
    shared: Arc<QuestionState>,
    /// One task for each VM with questions.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct QuestionState {
    vms: Vms,
    vm_states: VmStates,
    appender: Appender,
    clock: Clock,
    at_once: Semaphore,
    /// The waiting questions of each VM with a task.
    waiting: Mutex<HashMap<Box<str>, Vec<Question>>>,
}

impl Asker {
    pub(crate) fn new(vms: Vms, vm_states: VmStates, appender: Appender, clock: Clock) -> Self {
        let at_once = Semaphore::new(QUESTIONS_AT_ONCE_MAX);
        let shared = QuestionState { vms, vm_states, appender, clock, at_once, waiting: Mutex::default() };
        Self { shared: Arc::new(shared), tasks: Mutex::default() }
    }

    /// Adds questions, in place of older ones that wait.
    pub(crate) fn offer(&self, questions: Vec<Question>) {
        if questions.is_empty() {
            return;
        }
        let mut tasks = lock(&self.tasks);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!("a task of the hub died: {error}");
            }
        }
        let mut waiting = self.shared.waiting();
        for question in questions {
            match waiting.get_mut(&question.vm) {
                Some(of_vm) => replace_older(of_vm, question),
                None => {
                    let vm = question.vm.clone();
                    waiting.insert(vm.clone(), vec![question]);
                    tasks.spawn(ask_one_vm(Arc::clone(&self.shared), vm));
                }
            }
        }
    }
}

impl QuestionState {
    /// The next question to a VM; if there is none, its task ends.
    fn next(&self, vm: &str) -> Option<Question> {
        let mut waiting = self.waiting();
        let next = waiting.get_mut(vm).and_then(Vec::pop);
        if next.is_none() {
            waiting.remove(vm);
        }
        next
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Question>>> {
        lock(&self.waiting)
    }

    /// Whether the correlators would use the answer, after all records that were appended so far.
    async fn is_open(&self, question: &Question) -> bool {
        let all_read = async {
            if let Ok(ticket) = self.appender.append(&mut Batch::new())
                && let Ok(head) = self.appender.committed(ticket).await
            {
                self.vm_states.has_read(head).await;
            }
        };
        // If the observer is so far behind, the records that it has read decide.
        let _ = tokio::time::timeout(READ_WAIT_MAX, all_read).await;
        self.vm_states.is_open(question)
    }
}

/// Keeps the newest question of each command.
fn replace_older(waiting: &mut Vec<Question>, question: Question) {
    waiting.retain(|older| older.execute != question.execute);
    waiting.push(question);
}

/// Sends queries to a VM until no question waits.
async fn ask_one_vm(shared: Arc<QuestionState>, name: Box<str>) {
    while let Some(question) = next_to_ask(&shared, &name).await {
        let Some(vm) = shared.vms.get(&name) else { continue };
        // The semaphore is never closed.
        let _permit = shared.at_once.acquire().await;
        ask(&shared, &vm, &question).await;
    }
}

/// Waits until the query of the next open question may be sent.
async fn next_to_ask(shared: &QuestionState, name: &str) -> Option<Question> {
    loop {
        let in_time = match shared.vms.get(name) {
            Some(vm) => tokio::time::timeout(COMMAND_WAIT_MAX, vm.commands.none_changes()).await.is_ok(),
            None => false,
        };
        // After the wait, so that it is the newest.
        let question = shared.next(name)?;
        if in_time && shared.is_open(&question).await {
            return Some(question);
        }
    }
}

/// Sends the query once. The answer is recorded when it is read; a missing answer is recorded here.
async fn ask(shared: &QuestionState, vm: &Arc<FollowedVm>, question: &Question) {
    let QuestionState { appender, clock, .. } = shared;
    let (answered, mut answer) = oneshot::channel();
    let executed = if vm.is_through_libvirt() { LIBVIRT_STATE } else { question.execute };
    let asking = AnswerSink::new(appender.clone(), question.clone(), executed, answered, *clock);
    let failure = match vm.ask(question.execute, Box::new(asking)) {
        Err(error) => error,
        Ok(()) => match tokio::time::timeout(ANSWER_WAIT_MAX, &mut answer).await {
            Ok(_) => return,
            Err(_) => {
                // From here on a late answer is not recorded, unless it was recorded just now.
                answer.close();
                if answer.try_recv().is_ok() {
                    return;
                }
                ExecuteError::TimedOut { waited: ANSWER_WAIT_MAX }
            }
        },
    };
    record(appender, question, executed, &Err(failure), clock.now());
}

#[cfg(test)]
mod tests {
    use qmp_wire::{Epoch, Seq};

    use super::*;

    #[test]
    fn newest_question_of_each_command_is_asked() {
        let question = |execute, seq| Question { vm: "web1".into(), execute, cause: (Epoch(1), Seq(seq)) };
        let mut waiting = Vec::new();
        for (execute, seq) in [
            ("query-status", 1),
            ("query-jobs", 2),
            ("query-status", 3),
            ("query-status", 4),
            ("query-jobs", 5),
        ] {
            replace_older(&mut waiting, question(execute, seq));
        }
        assert_eq!(waiting, [question("query-status", 4), question("query-jobs", 5)]);
    }
}

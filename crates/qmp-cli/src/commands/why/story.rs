//! The story of one VM, read up to the moment that is asked about, and then once more for the evidence.
//!
//! The same correlators read it as in the hub, from the epoch before the one that is asked about: that is all
//! that they look back to.

use std::ops::ControlFlow;

use qmp_hub::findings::Correlators;
use qmp_hub::journal::{Globs, Kind, Query};
use qmp_wire::{Body, Epoch, Offset, Record};

use super::{Answer, Asked, received_by};
use crate::commands::log::source::Source;
use crate::exit::Failure;
use crate::hub::{HubError, Query as HubQuery};

/// Records taken from the file at once.
const BATCH_MAX_RECORDS: usize = 1_024;

/// An epoch's beginning.
struct Begin {
    epoch: Epoch,
    offset: Offset,
}

/// Reads the answer.
pub(super) async fn answer(source: &Source, vm: &str, asked: Asked) -> Result<Answer, Failure> {
    let begins = begins(source, vm, asked).await?;
    let after = Offset(begins.first().map_or(0, |begin| begin.offset.0.saturating_sub(1)));
    let last = begins.last().map(|begin| begin.epoch);
    let is_past = |record: &Record<'_>| {
        last.is_some_and(|last| record.epoch > last) || !received_by(record, asked.until())
    };

    let (mut correlators, mut newest) = (Correlators::new(), None);
    each(source, vm, None, after, &mut |record| {
        if is_past(&record) {
            return ControlFlow::Break(());
        }
        newest = Some(record.received);
        correlators.record(&record, &mut Vec::new());
        ControlFlow::Continue(())
    })
    .await?;
    if let Some(now) = asked.overdue() {
        correlators.time_passed(now, &mut Vec::new());
    }
    let state = correlators.state(vm).unwrap_or_default();

    let last_received = match source {
        Source::File(_) if state.attached && matches!(asked, Asked::Now(_)) => newest,
        _ => None,
    };

    let mut causes = state.why.as_ref().map(|why| why.causes.clone()).unwrap_or_default();
    let mut evidence = Vec::new();
    if !causes.is_empty() {
        each(source, vm, None, after, &mut |record| {
            if let Some(index) = causes.iter().position(|cause| *cause == (record.epoch, record.seq)) {
                causes.swap_remove(index);
                evidence.push(record.into_owned());
            }
            if causes.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
    }
    Ok(Answer { state, evidence, last_received })
}

/// The beginning of the epoch that is asked about, and before it that of the one before.
async fn begins(source: &Source, vm: &str, asked: Asked) -> Result<Vec<Begin>, Failure> {
    let mut begins: Vec<Begin> = Vec::new();
    let mut latest = None;
    each(source, vm, Some(Kind::Attached), Offset(0), &mut |record| {
        let (Body::Attached { .. }, Some(offset)) = (&record.body, record.offset) else {
            return ControlFlow::Continue(());
        };
        latest = Some(record.epoch);
        let is_past = match asked {
            Asked::EndOf(epoch) => record.epoch > epoch,
            Asked::Now(_) | Asked::At(_) => !received_by(&record, asked.until()),
        };
        if is_past {
            return ControlFlow::Break(());
        }
        if begins.len() >= 2 {
            begins.remove(0);
        }
        begins.push(Begin { epoch: record.epoch, offset });
        ControlFlow::Continue(())
    })
    .await?;
    match (asked, begins.last(), latest) {
        (_, _, None) => Err(Failure::gone(format_args!("the journal has no epoch of {vm}"))
            .hint("qmp status lists the VMs of the hub, qmp log --kind attached those of the journal")),
        (Asked::EndOf(epoch), last, _) if last.is_none_or(|last| last.epoch != epoch) => {
            Err(Failure::failed(format_args!("{vm} has no epoch {}", epoch.0))
                .hint(format_args!("qmp log --vm {vm} --kind attached lists them")))
        }
        (_, None, Some(_)) => Err(Failure::failed(format_args!("nothing is known of {vm} that early"))
            .hint(format_args!("qmp log --vm {vm} -n 1 --kind attached says from when on"))),
        _ => Ok(begins),
    }
}

/// Hands the records of a VM to `take`, up to the present head or until it has enough.
async fn each(
    source: &Source,
    vm: &str,
    kind: Option<Kind>,
    after: Offset,
    take: &mut (dyn FnMut(Record<'_>) -> ControlFlow<()> + Send),
) -> Result<(), Failure> {
    match source {
        Source::File(reader) => {
            let query = Query {
                vm: Globs::parse([vm]).map_err(Failure::usage)?,
                kind: kind.into_iter().collect(),
                ..Query::default()
            };
            let mut cursor = reader.cursor(query, after);
            loop {
                let batch = cursor.next_batch(BATCH_MAX_RECORDS)?;
                if batch.is_empty() {
                    return Ok(());
                }
                for record in batch {
                    if take(record).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Source::Hub(client) => {
            let mut query = HubQuery::default();
            query.add("vm", vm);
            kind.iter().for_each(|kind| query.add("kind", kind.name()));
            query.add("after", after.0);
            let mut lines = client.records(&query).await?;
            while let Some(line) = lines.next().await? {
                let record = Record::from_json(line).map_err(|error| HubError::not_a_record(&error))?;
                if take(record).is_break() {
                    return Ok(());
                }
            }
            Ok(())
        }
    }
}

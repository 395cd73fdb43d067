//! The list of correlators.

use crate::conclusion::Conclusions;
use crate::correlator::Correlator as _;
use crate::epoch::Span;
use crate::local_time::Moment;
use crate::observation::Observation;
use crate::question::QuestionId;

/// Declares the correlators of a VM, in the order in which they see a record.
macro_rules! correlators {
    ($($name:ident: $type:path),+ $(,)?) => {
        /// One correlator of each kind, for one VM.
        #[derive(Debug, Default)]
        pub(super) struct CorrelatorSet {
            $(pub(super) $name: $type,)+
        }

        crate::persist::persist!(CorrelatorSet { $($name),+ });

        impl CorrelatorSet {
            pub(super) fn take(&mut self, input: &Observation<'_>, span: &Span, found: &mut Conclusions) {
                $(self.$name.take(input, span, found);)+
            }

            pub(super) fn deadline(&self) -> Option<Moment> {
                [$(self.$name.deadline()),+].into_iter().flatten().min()
            }

            pub(super) fn overdue(&mut self, now: Moment, span: &Span, found: &mut Conclusions) {
                $(if self.$name.deadline().is_some_and(|at| at <= now) {
                    self.$name.overdue(now, span, found);
                })+
            }

            /// Whether an answer to this question is still needed.
            pub(super) fn is_open(&self, asked: QuestionId) -> bool {
                false $(|| self.$name.is_open(asked))+
            }
        }
    };
}

correlators! {
    unseen: crate::unseen::UnseenChanges,
    clock: crate::clock_steps::ClockSteps,
    drift: crate::drift::Drift,
    sequels: crate::sequels::Sequels,
    migration: crate::migration::Migrations,
    interrupted: crate::interrupted::MigrationInterruptions,
    why: crate::why::Explainer,
    jobs: crate::jobs::Jobs,
    unplug: crate::unplug::Unplugs,
    unplug_ignored: crate::unplug_ignored::IgnoredUnplugs,
    powerdown: crate::powerdown::Powerdown,
    storms: crate::storms::Storms,
}

//! The list of correlators.

use crate::conclusion::Found;
use crate::correlator::Correlator as _;
use crate::epoch::Span;
use crate::local_time::Moment;
use crate::observation::Input;
use crate::question::Asked;

/// Declares the correlators of a VM, in the order in which they see a record.
macro_rules! correlators {
    ($($name:ident: $type:path),+ $(,)?) => {
        /// One of each, for one VM.
        #[derive(Debug, Default)]
        pub(super) struct Registered {
            $(pub(super) $name: $type,)+
        }

        crate::saved::saved!(Registered { $($name),+ });

        impl Registered {
            pub(super) fn take(&mut self, input: &Input<'_>, span: &Span, found: &mut Found) {
                $(self.$name.take(input, span, found);)+
            }

            pub(super) fn deadline(&self) -> Option<Moment> {
                [$(self.$name.deadline()),+].into_iter().flatten().min()
            }

            pub(super) fn overdue(&mut self, now: Moment, span: &Span, found: &mut Found) {
                $(if self.$name.deadline().is_some_and(|at| at <= now) {
                    self.$name.overdue(now, span, found);
                })+
            }

            /// Whether the answer to this question is waited for.
            pub(super) fn is_open(&self, asked: Asked) -> bool {
                false $(|| self.$name.is_open(asked))+
            }
        }
    };
}

correlators! {
    unseen: crate::unseen::Unseen,
    clock: crate::clock_steps::ClockSteps,
    drift: crate::drift::Drift,
    sequels: crate::sequels::Sequels,
    migration: crate::migration::Migrations,
    interrupted: crate::interrupted::Interrupted,
    why: crate::why::Why,
    jobs: crate::jobs::Jobs,
    unplug: crate::unplug::Unplugs,
    unplug_ignored: crate::unplug_ignored::UnplugIgnored,
    powerdown: crate::powerdown::Powerdown,
    storms: crate::storms::Storms,
}

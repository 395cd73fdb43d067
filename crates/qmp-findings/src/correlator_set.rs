//! The list of correlators.

use super::local_time::Moment;
use super::observation::Input;
use super::question::Asked;
use super::tracker::{Found, Span};

/// Draws conclusions of one sort from the records of one VM.
pub(super) trait Correlator {
    /// Takes the next record. What was due before it has been dealt with.
    fn take(&mut self, input: &Input<'_>, span: &Span, found: &mut Found);

    /// The moment after which [`Self::overdue`] is to be called, if nothing changes until then.
    fn deadline(&self) -> Option<Moment> {
        None
    }

    /// Deals with everything whose deadline is `now` or earlier; nothing received by then is missing.
    fn overdue(&mut self, _now: Moment, _span: &Span, _found: &mut Found) {}

    /// Whether the answer to this question, raised by [`Found::ask`], is waited for.
    fn is_open(&self, _asked: Asked) -> bool {
        false
    }
}

/// Declares the correlators of a VM, in the order in which they see a record.
macro_rules! correlators {
    ($($name:ident: $module:ident::$type:ident),+ $(,)?) => {
        /// One of each, for one VM.
        #[derive(Debug, Default)]
        pub(super) struct Registered {
            $(pub(super) $name: super::$module::$type,)+
        }

        super::saved::saved!(Registered { $($name),+ });

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
    unseen: unseen::Unseen,
    clock: clock_steps::ClockSteps,
    drift: drift::Drift,
    sequels: sequels::Sequels,
    migration: migration::Migrations,
    interrupted: interrupted::Interrupted,
    why: why::Why,
    jobs: jobs::Jobs,
    unplug: unplug::Unplugs,
    unplug_ignored: unplug_ignored::UnplugIgnored,
    powerdown: powerdown::Powerdown,
    storms: storms::Storms,
}

//! The cases, one file for each area.
//!
//! # Writing a case
//!
//! A case is a function in the file of its area, and a line in the table `CASES` at the head of that file:
//!
//! ```text
//! //! Nurseries: what their exit does.
//!
//! use crate::case::{Case, portable};
//!
//! pub(super) const CASES: &[Case] =
//!     &[portable!(first_error_cancels, "nursery.first-error-cancels", "trio test_run.py::test_crash, divergence 5")];
//!
//! /// A child's error cancels its siblings.
//! async fn first_error_cancels() -> trine::Result<()> {
//!     ...
//! }
//! ```
//!
//! 1. The macro says what the function is: [`portable!`] for an `async fn` under a virtual clock that jumps by itself,
//!    `clocked!` for one that moves its clock, `real_time!` for the machine's clock, `on_host!` for a plain function that
//!    runs futures itself, `backend!` for one over the backend's traits (see [`Body`](crate::case::Body)).
//! 2. The second argument is the law (`L14`) or the key of the rule that is proved, `area.rule-in-words`; the third one
//!    says where it comes from, several separated by commas: `trio FILE::TEST` (by the names in `data/trio-tests.txt`,
//!    this is what `ported` counts), `divergence N`, `design N.N`.
//! 3. It fails by a panic (`assert!`) or by returning an error, and passes with `Ok(())`. It must be right on every host
//!    and under every order; `.fifo()` after the macro excuses it from the latter. If this machine lacks what it needs:
//!    `return Err(skip("no IPv6"))`.
//! 4. The future is `Send + 'static`, also in a law case, since a host may poll it on several threads. Only what is
//!    about `drive` itself takes a driver, with `.needs_driver()`. No sleeping to wait in real time, no
//!    assertion on real durations; after 30 s of real time a case has failed.
//! 5. A new file is registered by one `mod` and one line in `TABLES`, at the foot of this file.
//!
//! [`portable!`]: crate::case

use crate::case::Case;

mod cancel_tools;
mod cancelled_rule;
mod catching;
mod channel;
mod channel_close;
mod channel_close_turns;
mod channel_producer;
mod channel_stream;
mod channel_values;
mod checkpoint;
mod clock;
mod condition;
mod condition_cancel;
mod contention;
mod contention_locks;
mod deadline;
mod drop_everywhere;
mod drops;
mod effective;
mod entry;
mod errors;
mod event;
mod failing;
mod finally;
mod foreign;
mod forgotten;
mod grants;
mod hand_over;
mod handle;
mod hosting;
mod instrument;
#[cfg(unix)]
mod laws;
mod limiter;
mod locals;
mod lock;
mod locklike;
mod long_polls;
mod mutex;
mod net;
mod net_cancel;
mod nursery;
mod nursery_exit;
mod nursery_local;
mod nursery_tools;
mod panics;
mod parking_lot;
mod quiescence;
mod race;
mod reason;
mod run;
mod scope;
mod semaphore;
mod serve;
mod shield;
mod sleep;
mod smoke;
mod spawner;
mod start;
mod start_calls;
mod start_scopes;
mod stripping;
mod subexecutor;
mod sync_tools;
mod taken_along;
mod tasks;
mod timeout;
mod typed;
mod unbounded;
mod wakes;

/// The tables, by area.
const TABLES: &[&[&[Case]]] = &[
    #[cfg(unix)]
    laws::CASES,
    &[channel::CASES],
    &[channel_values::CASES],
    &[channel_close::CASES],
    &[channel_close_turns::CASES],
    &[channel_producer::CASES],
    &[channel_stream::CASES],
    &[unbounded::CASES],
    &[condition::CASES],
    &[condition_cancel::CASES],
    &[contention::CASES],
    &[contention_locks::CASES],
    &[event::CASES],
    &[limiter::CASES],
    &[lock::CASES],
    &[mutex::CASES],
    &[net::CASES],
    &[net_cancel::CASES],
    &[parking_lot::CASES],
    &[semaphore::CASES],
    &[serve::CASES],
    locklike::CASES,
    grants::CASES,
    &[hosting::CASES],
    &[nursery::CASES],
    &[nursery_exit::CASES],
    &[nursery_local::CASES],
    &[failing::CASES],
    &[stripping::CASES],
    &[errors::CASES],
    &[cancelled_rule::CASES],
    &[start::CASES],
    &[start_scopes::CASES],
    &[start_calls::CASES],
    &[handle::CASES],
    &[spawner::CASES],
    &[race::CASES],
    &[locals::CASES],
    &[panics::CASES],
    &[drops::CASES],
    &[forgotten::CASES],
    &[typed::CASES],
    &[run::CASES],
    &[taken_along::CASES],
    &[tasks::CASES],
    &[smoke::CASES],
    &[scope::CASES],
    &[entry::CASES],
    &[catching::CASES],
    &[deadline::CASES],
    &[effective::CASES],
    &[timeout::CASES],
    &[shield::CASES],
    &[reason::CASES],
    &[checkpoint::CASES],
    &[foreign::CASES],
    &[subexecutor::CASES],
    &[finally::CASES],
    &[sleep::CASES],
    &[clock::CASES],
    &[quiescence::CASES],
    &[wakes::CASES],
    &[long_polls::CASES],
    &[drop_everywhere::CASES],
    &[hand_over::CASES],
    &[instrument::CASES],
];

/// Returns all cases, in order.
pub fn all() -> impl Iterator<Item = &'static Case> {
    TABLES.iter().copied().flatten().copied().flatten()
}

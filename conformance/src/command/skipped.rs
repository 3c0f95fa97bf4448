//! Why a scenario that differs from Trio's trace is skipped.

use trine_conformance::scenario::model::Kind;

/// Marked as `ties`, but what decides is which of two tasks runs first within an instant; no deadline is due in it. Trine
/// gives the recorded trace in some orders and another one in others, and so does real Trio (0.35) if one task is left
/// waiting for a few passes.
///
/// - g531: `t6` has to receive before `t5`, two steps after its start, fails and so cancels `t6`. A nursery runs what its
///   children wake in several batches before its siblings' turn comes, so `t5` may be first.
/// - g972: `main` cancels after one checkpoint. `t6`, two nurseries further in, may have sent by then.
///
/// To be equal, a nursery would have to run one batch in each pass of the root, as Trio does. That would cost each yield a
/// way to the root and back, and no promise depends on it: SPEC.md leaves the order of runnable tasks open.
const ORDER_DECIDES: [&str; 2] = ["g531", "g972"];

/// In a few words, for the report.
pub(super) fn reason(kind: Kind, id: &str) -> &'static str {
    match kind {
        Kind::Ties if ORDER_DECIDES.contains(&id) => "the order of tasks within an instant decides, not a deadline",
        Kind::Ties => "all deadlines of one instant expire before any task runs",
        Kind::Obscure => "when a deadline moved to the past is noticed",
        Kind::Robust => "never",
    }
}

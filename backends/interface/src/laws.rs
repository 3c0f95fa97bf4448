//! The contract of a backend, as numbered laws.
//!
//! Each law is one sentence, the reason for it, and who can test it. The text of a law is part of the interface: a
//! change to it is a breaking change, numbers are never reused.
//!
//! "Soon" means: within [`SLACK`] on a machine that is not overloaded.

use std::time::Duration;

/// How late a wake, an alarm or an event may be before a test calls it lost, on an idle machine.
pub const SLACK: Duration = Duration::from_millis(500);

/// One law of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Law {
    /// The number, as `"L1"`.
    pub id: &'static str,
    /// What must be true, in one sentence.
    pub rule: &'static str,
    /// What breaks otherwise.
    pub why: &'static str,
    /// Where the test belongs.
    pub tested_by: TestedBy,
}

/// Where the test of a law belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestedBy {
    /// The conformance suite sees it through the traits.
    Suite,
    /// Needs help from inside the loop: the backend's own tests (a suite case may be there too).
    Backend,
}

macro_rules! laws {
    ($($id:ident $tested_by:ident $rule:literal because $why:literal;)*) => {
        $(
            #[doc = $rule]
            #[doc = ""]
            #[doc = concat!("*Why:* ", $why)]
            #[doc = ""]
            #[doc = concat!("*Tested by:* [`TestedBy::", stringify!($tested_by), "`]")]
            pub const $id: Law =
                Law { id: stringify!($id), rule: $rule, why: $why, tested_by: TestedBy::$tested_by };
        )*

        /// All laws, in order.
        pub const ALL: &[Law] = &[$($id),*];
    };
}

laws! {
    // Driving.
    L1 Suite "`drive` polls the future on the calling thread only, returns `Ok` exactly when it is ready, and never polls it again."
        because "what runs inside borrows from the caller's stack and need not be `Send`.";
    L2 Suite "A wake is sticky: one that comes at any time before a park, or during a poll, leads to another poll."
        because "a waker is called once; if that is forgotten, the program hangs.";
    L3 Suite "A wake may come from any thread, at any time, also when the future or the driver is gone; a sleeping loop polls soon after."
        because "worker threads and other loops wake tasks, and they do not know when those end.";
    L4 Suite "A future that nothing has woken is not polled in a busy loop: the thread sleeps."
        because "idle programs must cost nothing.";
    L5 Suite "A future that wakes itself at every poll still gets its alarms, readiness and foreign wakes, after a bounded number of polls."
        because "a busy task must not starve timers and connections.";
    L6 Suite "A `drive` within a `drive` of the same backend on the same thread is refused with an error, and the outer one goes on unharmed."
        because "the inner one would block the outer loop, whose events it may be waiting for.";
    L7 Suite "A panic of the future leaves `drive` by unwinding, and driver and thread can drive another future afterwards."
        because "test harnesses catch panics and go on with the same thread.";
    // Alarms.
    L8 Suite "An alarm never fires early: when `poll` says `Ready`, `Instant::now()` is at or past the set instant."
        because "a timeout that is too short is an error, one that is a little late is not.";
    L9 Suite "An alarm that is set and polled wakes the last poll's waker soon after its instant, also if that lies in the past."
        because "a lost alarm is a hang.";
    L10 Suite "A fired alarm says `Ready` at every poll until it is set again."
        because "a poll may be spent on something else, so the news must not be used up by it.";
    L11 Suite "`set` replaces: after it neither the old instant nor an old `Ready` counts, and `None` means never."
        because "deadlines move both ways, and a root keeps one alarm for all of them.";
    L12 Suite "Alarms of one loop are independent, may be set, polled and dropped on any thread, and a sleeping loop takes notice."
        because "several roots share a loop, and a tree may move to another thread.";
    L13 Suite "An alarm or a direction of a source wakes the waker of its last poll, also if an earlier poll left another one there."
        because "the future may have moved to another task since.";
    // Readiness.
    L14 Suite "Readiness is not lost: what was ready before the registration, or became so between it and the poll, is reported."
        because "edges are reported once; data that came first must not wait for more data.";
    L15 Suite "Readiness is not invented: a source that was not ready since it was registered, or since the clear, is `Pending`."
        because "`wait_readable` promises its callers that a read would not block.";
    L16 Suite "Readiness lasts until it is cleared: a second poll says `Ready` too."
        because "the first poll may belong to a wait that was cancelled.";
    L17 Suite "After a clear with the newest tick the source is `Pending` until there is news, and news of the same kind is reported: data after data."
        because "this is what makes the next wait sleep, and wake up again.";
    L18 Backend "A clear with a tick that is not the newest does nothing."
        because "an event between the caller's system call and its clear would be lost with it.";
    L19 Suite "The two directions are independent: each has its waker and its clear."
        because "one task reads while another one writes.";
    L20 Suite "A hang-up or an error makes every direction ready that it concerns, for waiters and for polls to come."
        because "the system call is what tells the caller of it; whoever waits for data alone would wait for ever.";
    L21 Suite "A tick says `is_hangup` if the end of a direction came with this event and no further event would announce it."
        because "after a short read the caller clears without trying again, and must not clear the end of the stream.";
    L22 Suite "Dropping a `Readiness`, on any thread, ends the registration before `drop` returns: the source can be registered anew at once."
        because "descriptors are reused by number as soon as they are closed.";
    L23 Backend "No event of an ended registration reaches another one."
        because "events are delivered in batches, and a source in the batch may be dropped and replaced by a waker before it.";
    L24 Suite "A second registration of a registered source is refused with an error or independent of the first, which goes on."
        because "silence would be a hang in one of the two.";
    // Jobs.
    L25 Suite "An accepted job runs exactly once, soon, on a thread that is not the loop's, also if the loop ends meanwhile; 64 can block at a time."
        because "jobs hold locks, answers and limiter tokens, and may wait for each other.";
    L26 Suite "A panic in a job harms neither the loop nor later jobs."
        because "the panic is handed over by whoever wrote the job; the pool must go on.";
    // Turns and budget.
    L27 Suite "`poll_turn` is `Ready` only after all that was ready at its first call has been reported and its wakes delivered."
        because "a virtual clock jumps next, and must not overtake an event that is there.";
    L28 Suite "`poll_turn` never blocks, its `Pending` is followed by a wake, and it is `Ready` after a bounded number of rounds."
        because "it is called when all tasks are blocked, so nothing else would wake it.";
    L29 Suite "When `has_budget` says no, a return to the host restores it."
        because "else a tree that stops polling would never go on.";
    // The end, and the rules for foreign code.
    L30 Suite "When a driver is dropped, all waiters are woken; from then on `is_dead` is true, polls of a readiness and new requests for alarms and registrations give an error."
        because "a subtree that moves to another loop must notice, and nothing may hang.";
    L31 Backend "Wakers are cloned, woken and dropped, and jobs are run, with no lock of the backend held."
        because "a waker is foreign code: it may poll, register, drop or wake something of the same loop.";
    L32 Suite "What `ambient` returns serves without any `drive` of its own; a backend that cannot says `None`."
        because "a hosted tree is polled by an executor that knows nothing of the loop.";
    // Turns and budget, again.
    L33 Suite "What a host grants a turn beyond its budget is bounded, and ends with the turn."
        because "its other tasks wait until the turn is over.";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn laws_are_numbered_in_order() {
        for (i, law) in ALL.iter().enumerate() {
            assert_eq!(law.id, format!("L{}", i + 1));
        }
    }

    #[test]
    fn a_law_is_one_sentence_with_a_reason() {
        for law in ALL {
            assert!(law.rule.ends_with('.'), "{}", law.id);
            assert!(law.why.ends_with('.'), "{}", law.id);
        }
    }
}

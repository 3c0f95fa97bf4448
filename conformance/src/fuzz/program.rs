//! The language of the random programs: statements with blocks, each block a list of statements.
//!
//! What a statement does is an [`Op`]; names of shared things are small numbers.

use std::fmt;
use std::sync::Arc;

pub(super) type Block = Arc<Vec<Stmt>>;

/// A statement: blocks by position, as the operation defines.
#[derive(Clone, Debug)]
pub(super) struct Stmt {
    pub(super) op: Op,
    pub(super) blocks: Vec<Block>,
}

/// A future that knows nothing of Trine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    Pending,
    /// Wakes itself so many times, then is ready.
    Yields(u8),
    Oneshot(u8),
    /// Leaves its waker for `WakeStale`, and never ends.
    Stash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joiner {
    JoinAll,
    Unordered,
    /// `futures_concurrency`'s.
    Concurrency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NurseryKind {
    Plain,
    /// The nursery of the scope in that slot, with a deadline after so many milliseconds.
    Scoped(u8, Option<u8>),
    Typed,
    Local,
}

/// What becomes of the handle of a spawned child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Drop,
    Await,
    Cancel,
    CancelAwait,
    /// Cancelled after so many milliseconds.
    CancelLater(u8),
    Stash(u8),
}

/// Who says `started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starter {
    Child,
    /// Whoever takes the status out of the slot.
    Slot(u8),
    Nobody,
}

/// What the call of `start` goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartLimit {
    None,
    Deadline(u8),
    /// Dropped after so many polls.
    Drop(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChildKind {
    Soon,
    Spawn(Fate),
    /// Blocks: before and after `started`.
    Start(Starter, StartLimit),
}

/// See the module. Durations are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Checkpoint,
    ShieldedCheckpoint,
    CheckIfCancelled,
    Sleep(u8),
    SleepPast,
    SleepForever,
    AllBlocked,
    /// So many checkpoints whose `Cancelled` is ignored.
    Ignore(u32),
    Fail(u32),
    Panic(u32),
    Foreign(Foreign),
    CancellableForeign(Foreign),
    Fire(u8),
    WakeStale,
    DropStale,

    CancelScope(u8),
    CancelBecause(u8),
    /// To so many milliseconds from now; may be in the past.
    MoveDeadline(u8, i8),
    ClearDeadline(u8),
    SetShield(u8, bool),
    /// Of the nursery so many levels out.
    CancelChildren(u8),
    AwaitHandle(u8),
    CancelHandle(u8),
    DropHandle(u8),
    SayStarted(u8),
    DropStatus(u8),

    Send(u8),
    SendOrReturn(u8),
    TrySend(u8),
    Recv(u8),
    TryNext(u8),
    Stream(u8),
    TryRecv(u8),
    CloseSenders(u8),
    CloseReceivers(u8),
    SetEvent(u8),
    AwaitEvent(u8),
    SetTotal(u8, u8),
    AddPermit(u8),
    Notify(u8, u8),
    NotifyAll(u8),
    AwaitCondition(u8),

    Do,
    Catch,
    Repeat(u8),
    WithMutex(u8),
    TryMutex(u8),
    WithPermit(u8),
    WithToken(u8),
    WithLock(u8),
    Local(u64),
    /// The second block is one statement that is done when the first one's future is dropped.
    OnDrop,
    /// Drops its block after so many polls.
    DropAfter(u8),
    Select,
    Join(Joiner),
    Race,
    RaceAll,
    Scope {
        slot: u8,
        deadline: Option<u8>,
        shield: bool,
    },
    MoveOnAfter(u8),
    MoveOnPast,
    FailAfter(u8),
    /// With a deadline inside, so that it ends.
    Shielded(u8),
    ShieldedFor(u8),
    /// Body and clean-up, and how long the latter may take.
    Finally(u8),
    Isolated,
    Cancellable,
    /// Each statement that needs no waiting, and each far `Soon` child, is done by another thread, one by one.
    OnThread,
    /// Polls its block with another waker every time.
    Rewake,
    /// Polls its block so many times inside a scope, which ends; then goes on with it outside.
    Move(u8),
    Nursery(NurseryKind),
    /// In the nursery so many levels out; one right inside a nursery's own block borrows from its surroundings.
    Child(ChildKind, u8),
}

/// A random program.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) seed: u64,
    pub(super) main: Block,
    /// How often it runs in the same run.
    pub(super) repetitions: u32,
    /// The whole tree is dropped after so many polls.
    pub(super) drop_after: Option<u32>,
    /// What programs leave in their slots is dropped while the run goes on, or after it.
    pub(super) clear_inside: bool,
}

impl Program {
    /// What it was made from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many statements it has.
    pub fn size(&self) -> usize {
        fn size(block: &Block) -> usize {
            block.iter().map(|stmt| 1 + stmt.blocks.iter().map(size).sum::<usize>()).sum()
        }
        size(&self.main)
    }

    pub(super) fn any(&self, mut test: impl FnMut(Op) -> bool) -> bool {
        fn any(block: &Block, test: &mut impl FnMut(Op) -> bool) -> bool {
            block.iter().any(|stmt| test(stmt.op) || stmt.blocks.iter().any(|block| any(block, test)))
        }
        any(&self.main, &mut test)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program {}", self.seed)?;
        if self.repetitions > 1 {
            write!(f, ", {} times", self.repetitions)?;
        }
        if let Some(polls) = self.drop_after {
            write!(f, ", dropped after {polls} polls")?;
        }
        writeln!(f)?;
        lines(&self.main, 1, f)
    }
}

fn lines(block: &Block, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for stmt in block.iter() {
        writeln!(f, "{:width$}{:?}", "", stmt.op, width = depth * 4)?;
        for (i, inner) in stmt.blocks.iter().enumerate() {
            if i > 0 {
                writeln!(f, "{:width$}and", "", width = depth * 4)?;
            }
            lines(inner, depth + 1, f)?;
        }
    }
    Ok(())
}

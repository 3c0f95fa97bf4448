//! From a seed to a program.
//!
//! Every program can end: shields have deadlines inside, scopes that may be shielded have a deadline that is never taken
//! away, and no block that holds a mutex waits for a task.

use super::program::{Block, ChildKind, Fate, Foreign, Joiner, NurseryKind, Op, Program, StartLimit, Starter, Stmt};
use super::rng::Rng;
use super::world::{
    CHANNELS, CONDITIONS, EVENTS, HANDLES, LIMITERS, LOCKS, MUTEXES, ONESHOTS, PLAIN_SCOPES, SEMAPHORES, SHIELD_SCOPES,
    STATUSES,
};
use std::sync::Arc;

const DEPTH: u32 = 6;

impl Program {
    /// The program of that seed.
    pub fn generate(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let budget = if rng.one_in(3) { 60 } else { 6 + rng.below(24) };
        let mut generator = Generator { rng, budget: budget as i32, next: 0, panics: false, isolated: 0 };
        generator.panics = generator.rng.one_in(4);
        let main = generator.block(0, 2);
        let rng = &mut generator.rng;
        Self {
            seed,
            main,
            repetitions: if rng.one_in(1000) { 1000 } else { 1 },
            drop_after: rng.one_in(5).then(|| rng.below(30)),
            clear_inside: rng.one_in(2),
        }
    }
}

struct Generator {
    rng: Rng,
    budget: i32,
    /// Numbers errors and panics.
    next: u32,
    panics: bool,
    /// Inside `isolated`, which is as foreign as can be: see `leaves`.
    isolated: u32,
}

impl Generator {
    fn block(&mut self, depth: u32, least: u32) -> Block {
        let count = least + self.rng.below(4);
        let mut stmts = Vec::new();
        for _ in 0..count {
            if self.budget <= 0 && stmts.len() >= least.min(1) as usize {
                break;
            }
            stmts.push(self.stmt(depth));
        }
        Arc::new(stmts)
    }

    fn stmt(&mut self, depth: u32) -> Stmt {
        self.budget -= 1;
        if depth >= DEPTH || self.budget <= 0 || self.rng.below(10) < 3 + depth {
            return Stmt { op: self.leaf(), blocks: Vec::new() };
        }
        self.compound(depth + 1)
    }

    /// For a block that holds a condition's mutex. A cancelled condition wait holds its scopes open until it has the
    /// mutex again: if a branch beside it had the mutex and waited for something foreign, neither would end.
    fn leaves(&mut self) -> Block {
        let count = 1 + self.rng.below(3);
        self.budget -= count as i32;
        let leaf = |g: &mut Self| match g.leaf() {
            Op::Foreign(foreign) => Op::CancellableForeign(foreign),
            other => other,
        };
        Arc::new((0..count).map(|_| Stmt { op: leaf(self), blocks: Vec::new() }).collect())
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn foreign(&mut self) -> Foreign {
        match self.rng.below(8) {
            0..=1 => Foreign::Pending,
            2..=3 => Foreign::Yields(self.rng.small(6)),
            4..=6 => Foreign::Oneshot(self.rng.small(ONESHOTS)),
            _ => Foreign::Stash,
        }
    }

    fn scope(&mut self) -> u8 {
        self.rng.small(PLAIN_SCOPES + SHIELD_SCOPES)
    }

    fn leaf(&mut self) -> Op {
        match self.rng.below(100) {
            0..=9 => Op::Checkpoint,
            10..=21 => Op::Sleep(self.rng.small(20)),
            22 => Op::SleepPast,
            23 => Op::SleepForever,
            24 => Op::ShieldedCheckpoint,
            25 => Op::CheckIfCancelled,
            26 => Op::AllBlocked,
            27 => match self.rng.below(2000) {
                0 => Op::Ignore(200_000),
                1..=20 => Op::Ignore(2500),
                n => Op::Ignore(1 + n % 70),
            },
            28..=30 => Op::Fail(self.number()),
            31 if self.panics => Op::Panic(self.number()),
            31..=36 => Op::Foreign(self.foreign()),
            37..=38 => Op::CancellableForeign(self.foreign()),
            39..=41 => Op::Fire(self.rng.small(ONESHOTS)),
            42 => Op::WakeStale,
            43 => Op::DropStale,
            44..=48 => Op::CancelScope(self.scope()),
            49 => Op::CancelBecause(self.scope()),
            50..=52 => Op::MoveDeadline(self.scope(), self.rng.small(30) as i8 - 4),
            53 => Op::ClearDeadline(self.rng.small(PLAIN_SCOPES)),
            54..=56 => Op::SetShield(PLAIN_SCOPES + self.rng.small(SHIELD_SCOPES), self.rng.one_in(2)),
            57..=58 => Op::CancelChildren(self.rng.small(2)),
            59..=60 => Op::AwaitHandle(self.rng.small(HANDLES)),
            61..=62 => Op::CancelHandle(self.rng.small(HANDLES)),
            63 => Op::DropHandle(self.rng.small(HANDLES)),
            64..=66 => Op::SayStarted(self.rng.small(STATUSES)),
            67 => Op::DropStatus(self.rng.small(STATUSES)),
            68..=71 => Op::Send(self.rng.small(CHANNELS)),
            72 => Op::SendOrReturn(self.rng.small(CHANNELS)),
            73..=74 => Op::TrySend(self.rng.small(CHANNELS)),
            75..=78 => Op::Recv(self.rng.small(CHANNELS)),
            79 => Op::TryNext(self.rng.small(CHANNELS)),
            80..=81 => Op::Stream(self.rng.small(CHANNELS)),
            82..=83 => Op::TryRecv(self.rng.small(CHANNELS)),
            84 if self.rng.one_in(3) => Op::CloseSenders(self.rng.small(CHANNELS)),
            84 if self.rng.one_in(3) => Op::CloseReceivers(self.rng.small(CHANNELS)),
            84..=85 => Op::SetEvent(self.rng.small(EVENTS)),
            86..=88 => Op::AwaitEvent(self.rng.small(EVENTS)),
            89 => Op::SetTotal(self.rng.small(LIMITERS), self.rng.small(4)),
            90 => Op::AddPermit(self.rng.small(SEMAPHORES)),
            91..=92 => Op::Notify(self.rng.small(CONDITIONS), 1 + self.rng.small(2)),
            93 => Op::NotifyAll(self.rng.small(CONDITIONS)),
            94..=96 => Op::AwaitCondition(self.rng.small(CONDITIONS)),
            _ => Op::Checkpoint,
        }
    }

    fn deadline(&mut self) -> Option<u8> {
        self.rng.one_in(2).then(|| self.rng.small(25))
    }

    fn compound(&mut self, depth: u32) -> Stmt {
        let body = |g: &mut Self| vec![g.block(depth, 1)];
        let two = |g: &mut Self| vec![g.block(depth, 1), g.block(depth, 1)];
        let some = |g: &mut Self| (0..1 + g.rng.below(3)).map(|_| g.block(depth, 1)).collect();
        let (op, blocks) = match self.rng.below(100) {
            0..=13 => {
                let kind = match self.rng.below(10) {
                    0..=3 => NurseryKind::Plain,
                    4..=6 => NurseryKind::Scoped(self.rng.small(PLAIN_SCOPES), self.deadline()),
                    7..=8 => NurseryKind::Typed,
                    _ => NurseryKind::Local,
                };
                let mut stmts = Vec::new();
                for _ in 0..1 + self.rng.below(4) {
                    stmts.push(self.child(depth, true));
                    if self.rng.one_in(3) {
                        stmts.push(self.stmt(depth));
                    }
                }
                stmts.extend(self.block(depth, 0).iter().cloned());
                (Op::Nursery(kind), vec![Arc::new(stmts)])
            }
            14..=29 => return self.child(depth, false),
            30..=33 => (Op::Catch, body(self)),
            34..=35 => (Op::Repeat(2 + self.rng.small(3)), body(self)),
            36..=38 if self.isolated == 0 => (Op::WithMutex(self.rng.small(MUTEXES)), vec![self.leaves()]),
            39 if self.isolated == 0 => (Op::TryMutex(self.rng.small(MUTEXES)), vec![self.leaves()]),
            40..=41 => (Op::WithPermit(self.rng.small(SEMAPHORES)), body(self)),
            42..=43 => (Op::WithToken(self.rng.small(LIMITERS)), body(self)),
            44..=45 => (Op::WithLock(self.rng.small(LOCKS)), body(self)),
            46..=47 => (Op::Local(u64::from(self.number())), body(self)),
            48..=50 => {
                let on_drop = Stmt { op: self.sync_leaf(), blocks: Vec::new() };
                (Op::OnDrop, vec![self.block(depth, 1), Arc::new(vec![on_drop])])
            }
            51..=53 => (Op::DropAfter(self.rng.small(6)), body(self)),
            54..=56 => (Op::Select, two(self)),
            57..=58 => (Op::Join(Joiner::JoinAll), some(self)),
            59..=61 => (Op::Join(Joiner::Unordered), some(self)),
            62..=63 => (Op::Join(Joiner::Concurrency), some(self)),
            64..=67 => (Op::Race, two(self)),
            68..=69 => (Op::RaceAll, some(self)),
            70..=74 => {
                (Op::Scope { slot: self.rng.small(PLAIN_SCOPES), deadline: self.deadline(), shield: false }, body(self))
            }
            75..=78 => {
                let slot = PLAIN_SCOPES + self.rng.small(SHIELD_SCOPES);
                let deadline = Some(1 + self.rng.small(25));
                (Op::Scope { slot, deadline, shield: self.rng.one_in(2) }, body(self))
            }
            79..=83 => (Op::MoveOnAfter(self.rng.small(25)), body(self)),
            84 => (Op::MoveOnPast, body(self)),
            85..=86 => (Op::FailAfter(self.rng.small(25)), body(self)),
            87..=90 => (Op::Shielded(1 + self.rng.small(25)), body(self)),
            91..=93 => (Op::ShieldedFor(1 + self.rng.small(25)), body(self)),
            94..=96 => (Op::Finally(1 + self.rng.small(25)), two(self)),
            97 => {
                self.isolated += 1;
                let body = body(self);
                self.isolated -= 1;
                (Op::Isolated, body)
            }
            98 => (Op::Cancellable, body(self)),
            _ => match self.rng.below(5) {
                0..=1 => {
                    let act = Stmt { op: self.sync_leaf(), blocks: Vec::new() };
                    let child = Stmt { op: Op::Child(ChildKind::Soon, 0), blocks: vec![self.block(depth, 1)] };
                    (Op::OnThread, vec![Arc::new(vec![if self.rng.one_in(3) { child } else { act }])])
                }
                2 => (Op::Rewake, body(self)),
                3 => (Op::Do, body(self)),
                _ => (Op::Move(self.rng.small(5)), body(self)),
            },
        };
        Stmt { op, blocks }
    }

    fn child(&mut self, depth: u32, near: bool) -> Stmt {
        let level = if near || self.rng.one_in(2) { 0 } else { self.rng.small(3) };
        let kind = match self.rng.below(10) {
            0..=3 => ChildKind::Soon,
            4..=6 => ChildKind::Spawn(match self.rng.below(7) {
                0 => Fate::Drop,
                1..=2 => Fate::Await,
                3 => Fate::Cancel,
                4 => Fate::CancelAwait,
                5 => Fate::CancelLater(self.rng.small(15)),
                _ => Fate::Stash(self.rng.small(HANDLES)),
            }),
            _ => {
                let starter = match self.rng.below(7) {
                    0..=3 => Starter::Child,
                    4..=5 => Starter::Slot(self.rng.small(STATUSES)),
                    _ => Starter::Nobody,
                };
                let limit = match self.rng.below(5) {
                    0..=1 => StartLimit::None,
                    2..=3 => StartLimit::Deadline(self.rng.small(15)),
                    _ => StartLimit::Drop(self.rng.small(4)),
                };
                ChildKind::Start(starter, limit)
            }
        };
        let mut blocks = vec![self.block(depth, 1)];
        if matches!(kind, ChildKind::Start(..)) {
            blocks.push(self.block(depth, 0));
        }
        Stmt { op: Op::Child(kind, level), blocks }
    }

    /// Something that a drop can do.
    fn sync_leaf(&mut self) -> Op {
        loop {
            let op = self.leaf();
            if op.is_sync() {
                return op;
            }
        }
    }
}

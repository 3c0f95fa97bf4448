//! What a user can observe of the core: nurseries, scopes, races, and how they meet foreign futures and threads.
#![allow(
    clippy::unit_arg,
    clippy::redundant_async_block,
    clippy::needless_question_mark,
    reason = "the tests write what users write"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod api;
mod checkpoints;
mod drops;
mod duplex;
mod finally;
mod foreign;
mod handles;
mod hosted;
mod intruders;
mod lowlevel;
mod nursery;
mod panicking_wakers;
mod panics;
mod polling;
mod race;
mod rationed;
mod registrations;
mod report;
mod start;
mod support;
mod threads;
mod timers;
mod wakers;

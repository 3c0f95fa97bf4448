//! Trine on tokio, on async-io, and inside the executors of others, all in one process.
//!
//! Time is real here, since the hosts' timers are what is tested; no test measures it.
#![cfg(not(loom))]

mod budget;
mod choice;
mod everywhere;
mod foreign;
mod moving;
mod support;

//! All interleavings of every hand-off between threads, with the very types that roots and nurseries are made of:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p trine --lib models`.
//!
//! "Fails with" names changes of the product code that a model was seen to fail with.
//!
//! ```text
//! in small, a type or two         whole trees: roots, nurseries and tasks as they are
//! count   the biased count        tree         what these models share
//! wakes   stacks and bell         adoption     subtrees that change roots
//! gate    holds and mail          recycling    slots and cells that are used again
//! pool    slots given back        start        a child that is handed to another root
//! inbox   jobs, rings, starts     handles      values in the slots of children
//!                                 handover     items, permits and locks between roots
//!                                 same_thread  wakes by the thread that ran the root last
//! ```
//!
//! Where a number of preemptions is given, interleavings with more of them are left out.

mod adoption;
mod count;
mod gate;
mod handles;
mod handover;
mod inbox;
mod pool;
mod recycling;
mod same_thread;
mod start;
mod tree;
mod wakes;

/// The number of interleavings is printed with `--nocapture`.
fn check(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 20_000;
    let start = std::time::Instant::now();
    builder.check(move || {
        super::cells::unmap_all();
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    println!("{name}: {} interleavings in {:?}", runs.load(std::sync::atomic::Ordering::Relaxed), start.elapsed());
}

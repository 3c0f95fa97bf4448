//! A local nursery is not `Sync`: no other thread spawns into it.

fn main() {
    trine::run(trine::local_nursery(async |n| {
        std::thread::scope(|threads| {
            threads.spawn(|| n.start_soon(async { Ok(()) }));
        });
        Ok(())
    }))
    .unwrap();
}

//! What a local nursery is made of stays on its thread.

fn main() {
    let fut = trine::local_nursery(async |_| Ok(()));
    std::thread::spawn(move || trine::run(fut));
}

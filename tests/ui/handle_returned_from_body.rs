//! A body cannot return a handle to a child of its own nursery.

fn main() {
    trine::run(async {
        let handle = trine::nursery(async |n| Ok(n.spawn(async { Ok(1) }))).await.unwrap();
        handle.await.unwrap();
    });
}

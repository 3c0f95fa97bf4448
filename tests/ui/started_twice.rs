//! A child says only once that it has started.

fn main() {
    trine::run(trine::nursery(async |n| {
        n.start(|status| async move {
            status.started(1);
            status.started(2);
            Ok(())
        })
        .await
    }))
    .unwrap();
}

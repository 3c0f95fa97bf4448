//! A handle lives no longer than its nursery.

fn main() {
    trine::run(async {
        let mut kept = None;
        trine::nursery(async |n| {
            kept = Some(n.spawn(async { Ok(1) }));
            Ok(())
        })
        .await
        .unwrap();
        drop(kept);
    });
}

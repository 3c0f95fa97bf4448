//! A nursery can be spawned into only while it is open.

use trine::Nursery;

fn main() {
    trine::run(async {
        let mut kept: Option<&Nursery<'_, '_>> = None;
        trine::nursery(async |n| {
            kept = Some(n);
            Ok(())
        })
        .await
        .unwrap();
        kept.unwrap().start_soon(async { Ok(()) });
    });
}

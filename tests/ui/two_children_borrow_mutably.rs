//! Two children cannot have the same thing mutably, though they run on one thread.

fn main() {
    trine::run(async {
        let mut total = 0;
        trine::nursery(async |n| {
            n.start_soon(async {
                total += 1;
                Ok(())
            });
            n.start_soon(async {
                total += 2;
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap();
    });
}

//! A child of the outer nursery outlives the inner nursery, so it cannot spawn into it.

fn main() {
    trine::run(trine::nursery(async |outer| {
        trine::nursery(async |inner| {
            outer.start_soon(async {
                inner.start_soon(async { Ok(()) });
                Ok(())
            });
            Ok(())
        })
        .await
    }))
    .unwrap();
}

//! A local nursery has the same rule: children do not borrow what the body declares.

fn main() {
    trine::run(trine::local_nursery(async |n| {
        let local = std::cell::Cell::new(1);
        n.start_soon(async {
            local.set(2);
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
}

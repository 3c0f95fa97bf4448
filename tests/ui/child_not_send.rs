//! The children of a nursery are `Send`; `local_nursery` is for those that are not.

use std::rc::Rc;

fn main() {
    trine::run(trine::nursery(async |n| {
        n.start_soon(async {
            let count = Rc::new(1);
            trine::checkpoint().await?;
            drop(count);
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
}

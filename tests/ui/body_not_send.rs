//! So is the body.

use std::rc::Rc;

fn main() {
    trine::run(trine::nursery(async |_| {
        let count = Rc::new(1);
        trine::checkpoint().await?;
        drop(count);
        Ok(())
    }))
    .unwrap();
}

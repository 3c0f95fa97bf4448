//! The children of a typed nursery fail with its error.

use trine::{Cancelled, typed};

fn main() {
    trine::run(typed::nursery::<Cancelled, _>(async |n| {
        n.start_soon(async { Err(std::io::Error::other("not mine")) });
        Ok(())
    }))
    .unwrap();
}

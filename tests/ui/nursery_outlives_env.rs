//! A nursery's future cannot outlive what its body borrows.

use std::future::Future;

fn escape() -> impl Future<Output = trine::Result<()>> {
    let name = String::from("local");
    trine::nursery(async |n| {
        n.start_soon(async {
            println!("{name}");
            Ok(())
        });
        Ok(())
    })
}

fn main() {
    trine::run(escape()).unwrap();
}

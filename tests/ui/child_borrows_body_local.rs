//! The body ends before its children do, so they cannot borrow what it declares.

fn main() {
    trine::run(trine::nursery(async |n| {
        let local = String::from("gone");
        n.start_soon(async {
            println!("{local}");
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
}

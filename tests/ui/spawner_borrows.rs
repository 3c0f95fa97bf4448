//! A spawner may outlive what is around its nursery, so its children own their data.

fn main() {
    let name = String::from("local");
    trine::run(trine::nursery(async |n| {
        let spawner = n.spawner();
        let _ = spawner.start_soon(async {
            println!("{name}");
            Ok(())
        });
        Ok(())
    }))
    .unwrap();
}

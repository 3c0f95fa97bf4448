//! A child runs past the block it was spawned in, and past a drop of what it borrows.

fn main() {
    trine::run(async {
        let data = vec![1, 2, 3];
        trine::nursery(async |n| {
            n.start_soon(async {
                trine::checkpoint().await?;
                println!("{data:?}");
                Ok(())
            });
            drop(data);
            Ok(())
        })
        .await
        .unwrap();
    });
}

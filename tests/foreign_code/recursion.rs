//! Functions that call themselves, through a box and through nurseries.

use trine::{Result, fail_after, nursery};

use crate::{Boxed, LONG, on_threads};

struct Node {
    value: u64,
    children: Vec<Node>,
}

impl Node {
    /// A full tree whose nodes are numbered from 1, level by level.
    fn full(value: u64, depth: u32) -> Self {
        let children =
            if depth == 0 { Vec::new() } else { (0..2).map(|i| Self::full(2 * value + i, depth - 1)).collect() };
        Self { value, children }
    }
}

/// A nursery for each inner node; its children are the sums below.
fn sum(node: &Node) -> Boxed<'_, Result<u64>> {
    Box::pin(nursery(async move |n| {
        let below: Vec<_> = node.children.iter().map(|child| n.spawn(sum(child))).collect();
        let mut all = node.value;
        for sum in below {
            all += sum.await?;
        }
        Ok(all)
    }))
}

/// An `async fn` and its box, which call each other, with a scope at each level.
async fn depth(node: &Node) -> Result<usize> {
    let mut deepest = 0;
    for child in &node.children {
        trine::checkpoint().await?;
        deepest = deepest.max(1 + fail_after(LONG, boxed_depth(child)).await?);
    }
    Ok(deepest)
}

fn boxed_depth(node: &Node) -> Boxed<'_, Result<usize>> {
    Box::pin(depth(node))
}

/// Each level in a task of its own, which the level above waits for.
fn in_tasks(level: u32) -> Boxed<'static, Result<u32>> {
    Box::pin(nursery(async move |n| {
        let one = n.spawn(async move {
            tokio::task::yield_now().await;
            Ok(1)
        });
        let below = if level == 0 { 0 } else { trine::cancellable(tokio::spawn(in_tasks(level - 1))).await??? };
        Ok(one.await? + below)
    }))
}

#[test]
fn recursive_nurseries_run_in_tasks() {
    on_threads(async {
        let tree = Node::full(1, 6);
        assert_eq!(sum(&tree).await.unwrap(), (1..128).sum());
        assert_eq!(depth(&tree).await.unwrap(), 6);
    });
}

#[test]
fn levels_in_tasks_of_their_own() {
    assert_eq!(on_threads(in_tasks(20)).unwrap(), 21);
}

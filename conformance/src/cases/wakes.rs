//! How often what is polled: wakes are counted, so that nothing spins and nothing is polled for nothing.

use super::cancel_tools::{Flag, Polls, SECOND, after, checkpoint, forever};
use crate::case::{Case, clocked, portable};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use trine::sync::Event;
use trine::testing::{MockClock, wait_all_tasks_blocked};
use trine::{CancelScope, Result, nursery, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(parked_task_is_not_polled_when_siblings_run, "wakes.parked", "divergence 2"),
    portable!(timer_costs_one_wake, "wakes.timer", "divergence 2"),
    portable!(cancel_costs_each_waiter_one_wake, "wakes.cancel", "divergence 2"),
    portable!(shielded_child_of_a_cancelled_scope_is_left_alone, "wakes.shielded", "divergence 2"),
    portable!(foreign_wait_behind_a_shield_is_left_alone, "wakes.shielded", "divergence 2"),
    portable!(cancel_of_a_cancelled_scope_wakes_nobody, "wakes.again", "divergence 2"),
    portable!(deadline_moves_wake_nobody_inside, "wakes.deadline", "divergence 2"),
    portable!(shield_toggled_in_peace_wakes_nobody, "wakes.shield", "divergence 2"),
    portable!(event_wakes_each_waiter_once, "wakes.event", "divergence 2"),
    portable!(channel_item_wakes_one_receiver, "wakes.channel", "divergence 2"),
    portable!(finished_sibling_wakes_no_other, "wakes.sibling", "divergence 2"),
    portable!(wake_of_a_leaf_does_not_poll_others_of_a_sub_executor, "wakes.subexecutor", "divergence 2"),
    portable!(wakes_before_a_poll_are_one, "wakes.merged", "divergence 2"),
    clocked!(jump_before_a_deadline_wakes_nobody, "wakes.jump", "divergence 2"),
    portable!(handle_wakes_its_waiter_once, "wakes.handle", "divergence 2"),
];

async fn parked_task_is_not_polled_when_siblings_run() -> Result<()> {
    let (polls, event) = (Polls::default(), Event::new());
    nursery(async |n| {
        n.start_soon(polls.of(async { Ok(event.wait().await?) }));
        n.start_soon(async {
            for _ in 0..200 {
                trine::checkpoint().await?;
            }
            Ok(())
        });
        wait_all_tasks_blocked().await?;
        assert_eq!(polls.count(), 1);
        event.set();
        Ok(())
    })
    .await?;
    assert_eq!(polls.count(), 2);
    Ok(())
}

async fn timer_costs_one_wake() -> Result<()> {
    let polls = Polls::default();
    nursery(async |n| {
        n.start_soon(polls.of(after(1000)));
        // Other timers do not touch it.
        for i in 1..100 {
            after(i % 3).await?;
        }
        Ok(())
    })
    .await?;
    assert_eq!(polls.count(), 2);
    Ok(())
}

async fn cancel_costs_each_waiter_one_wake() -> Result<()> {
    let (polls, scope) = (Polls::default(), CancelScope::new());
    nursery(async |n| {
        let whole = n.spawn(scope.run(nursery(async |inner| {
            (0..300).for_each(|_| inner.start_soon(polls.of(forever())));
            Ok(())
        })));
        wait_all_tasks_blocked().await?;
        assert_eq!(polls.count(), 300);
        scope.cancel();
        assert_eq!(whole.await?, None);
        Ok(())
    })
    .await?;
    assert_eq!(polls.count(), 600);
    Ok(())
}

async fn shielded_child_of_a_cancelled_scope_is_left_alone() -> Result<()> {
    let (inside, child) = (Polls::default(), Polls::default());
    let scope = CancelScope::new();
    nursery(async |n| {
        let whole = n.spawn(scope.run(nursery(async |inner| {
            inner.start_soon(child.of(async { shielded(inside.of(after(10))).await }));
            forever().await
        })));
        wait_all_tasks_blocked().await?;
        scope.cancel();
        // A loop that posts the cancel again and again would spin here.
        for _ in 0..500 {
            trine::checkpoint().await?;
        }
        assert!(inside.count() <= 2 && child.count() <= 2, "{} {}", inside.count(), child.count());
        whole.await?;
        Ok(())
    })
    .await?;
    assert!(inside.count() <= 3 && child.count() <= 3, "{} {}", inside.count(), child.count());
    Ok(())
}

async fn foreign_wait_behind_a_shield_is_left_alone() -> Result<()> {
    let (polls, flag, scope) = (Polls::default(), Flag::default(), CancelScope::new());
    nursery(async |n| {
        let whole = n.spawn(scope.run(shielded(polls.of(async {
            flag.wait().await;
            Ok(())
        }))));
        wait_all_tasks_blocked().await?;
        scope.cancel();
        for _ in 0..500 {
            trine::checkpoint().await?;
        }
        assert!(polls.count() <= 3, "{}", polls.count());
        flag.set();
        assert_eq!(whole.await?, Some(()));
        Ok(())
    })
    .await
}

async fn cancel_of_a_cancelled_scope_wakes_nobody() -> Result<()> {
    let (polls, scope) = (Polls::default(), CancelScope::new());
    nursery(async |n| {
        let whole = n.spawn(scope.run(shielded(polls.of(after(10)))));
        wait_all_tasks_blocked().await?;
        scope.cancel();
        wait_all_tasks_blocked().await?;
        let before = polls.count();
        for _ in 0..100 {
            scope.cancel();
            scope.set_deadline(Some(trine::now()));
            trine::checkpoint().await?;
        }
        assert_eq!(polls.count(), before);
        whole.await?;
        Ok(())
    })
    .await
}

async fn deadline_moves_wake_nobody_inside() -> Result<()> {
    let (polls, scope) = (Polls::default(), CancelScope::after(SECOND * 1000));
    nursery(async |n| {
        let whole = n.spawn(scope.run(polls.of(after(500))));
        wait_all_tasks_blocked().await?;
        for i in 0..200 {
            scope.set_deadline((i % 2 == 0).then(|| trine::now() + SECOND * (1000 + i)));
            trine::checkpoint().await?;
        }
        assert_eq!(polls.count(), 1);
        assert_eq!(whole.await?, Some(()));
        Ok(())
    })
    .await?;
    assert_eq!(polls.count(), 2);
    Ok(())
}

async fn shield_toggled_in_peace_wakes_nobody() -> Result<()> {
    let (polls, scope) = (Polls::default(), CancelScope::new());
    nursery(async |n| {
        let whole = n.spawn(scope.run(polls.of(after(5))));
        wait_all_tasks_blocked().await?;
        for i in 0..100 {
            scope.set_shield(i % 2 == 0);
            trine::checkpoint().await?;
        }
        assert_eq!(polls.count(), 1);
        whole.await?;
        Ok(())
    })
    .await
}

async fn event_wakes_each_waiter_once() -> Result<()> {
    let (polls, event) = (Polls::default(), Event::new());
    nursery(async |n| {
        (0..100).for_each(|_| n.start_soon(polls.of(async { Ok(event.wait().await?) })));
        wait_all_tasks_blocked().await?;
        event.set();
        event.set();
        Ok(())
    })
    .await?;
    assert_eq!(polls.count(), 200);
    Ok(())
}

async fn channel_item_wakes_one_receiver() -> Result<()> {
    let (polls, (tx, rx)) = (Polls::default(), trine::channel::<u32>(0));
    nursery(async |n| {
        (0..50).for_each(|_| {
            n.start_soon(polls.of(async {
                rx.recv().await?;
                Ok(())
            }));
        });
        wait_all_tasks_blocked().await?;
        for i in 1..=50 {
            tx.send(i).await?;
            wait_all_tasks_blocked().await?;
            assert_eq!(polls.count(), 50 + i as usize);
        }
        Ok(())
    })
    .await
}

async fn finished_sibling_wakes_no_other() -> Result<()> {
    let polls = Polls::default();
    nursery(async |n| {
        n.start_soon(polls.of(after(100)));
        (0..50).for_each(|_| n.start_soon(checkpoint()));
        Ok(())
    })
    .await?;
    assert_eq!(polls.count(), 2);
    Ok(())
}

async fn wake_of_a_leaf_does_not_poll_others_of_a_sub_executor() -> Result<()> {
    let polls: Vec<_> = (0..50).map(|_| Polls::default()).collect();
    let mut all: FuturesUnordered<_> = polls.iter().zip(1..).map(|(polls, i)| polls.of(after(i))).collect();
    while let Some(result) = all.next().await {
        result?;
    }
    let counts: Vec<_> = polls.iter().map(Polls::count).collect();
    assert_eq!(counts, [2; 50]);
    Ok(())
}

async fn wakes_before_a_poll_are_one() -> Result<()> {
    let (polls, flags) = (Polls::default(), [Flag::default(), Flag::default(), Flag::default()]);
    nursery(async |n| {
        n.start_soon(polls.of(async {
            futures_util::join!(flags[0].wait(), flags[1].wait(), flags[2].wait());
            Ok(())
        }));
        wait_all_tasks_blocked().await?;
        flags.iter().for_each(Flag::set);
        Ok(())
    })
    .await?;
    assert_eq!(polls.count(), 2);
    Ok(())
}

async fn jump_before_a_deadline_wakes_nobody(clock: MockClock) -> Result<()> {
    let polls = Polls::default();
    nursery(async |n| {
        n.start_soon(polls.of(after(100)));
        wait_all_tasks_blocked().await?;
        for _ in 0..99 {
            clock.jump(SECOND);
            wait_all_tasks_blocked().await?;
        }
        assert_eq!(polls.count(), 1);
        clock.jump(SECOND);
        Ok(())
    })
    .await?;
    assert_eq!(polls.count(), 2);
    Ok(())
}

async fn handle_wakes_its_waiter_once() -> Result<()> {
    let polls = Polls::default();
    nursery(async |n| {
        let child = n.spawn(async {
            for _ in 0..50 {
                trine::checkpoint().await?;
            }
            Ok(())
        });
        n.start_soon(polls.of(async { Ok(child.await?) }));
        Ok(())
    })
    .await?;
    assert!(polls.count() <= 2, "{}", polls.count());
    Ok(())
}

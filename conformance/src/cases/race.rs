//! Races: the first to finish decides, the others are cancelled and awaited.

use super::nursery_tools::{
    Gate, Live, Log, SECOND, after, cleans_up, error_of, fails_after, fails_when_cancelled, forever, oopses, panic_of,
};
use crate::case::{Case, portable};
use std::future::{Ready, pending};
use trine::{CancelScope, Either, Error, Result, checkpoint, move_on_after, nursery, race, race_all, shielded};

pub(super) const CASES: &[Case] = &[
    portable!(first_value_decides, "race.first", "design 3"),
    portable!(losers_are_cancelled_and_awaited, "race.awaits", "design 3"),
    portable!(loser_that_never_ran_runs_to_a_checkpoint, "race.awaits", "divergence 7"),
    portable!(first_error_decides, "race.error", "design 3"),
    portable!(loser_s_real_error_beats_the_value, "race.loser-error", "design 3"),
    portable!(two_real_errors_are_a_group, "race.group", "design 3"),
    portable!(loser_s_value_is_dropped, "race.loser-value", "design 3"),
    portable!(foreign_loser_is_dropped, "race.foreign", "design 3"),
    portable!(shielded_loser_is_awaited, "race.shield", "design 3"),
    portable!(race_of_none_waits_for_cancellation, "race.none", "design 3"),
    portable!(race_of_one_is_that_one, "race.one", "design 3"),
    portable!(race_of_a_thousand, "race.many", "design 3"),
    portable!(cancel_from_outside_cancels_all, "race.cancelled", "design 3"),
    portable!(value_beats_a_cancel_from_outside, "race.cancelled", "divergence 3"),
    portable!(panic_of_a_branch_goes_on_after_the_others, "race.panic", "design 3"),
    portable!(races_nest_and_borrow, "race.nest", "design 3"),
    portable!(branches_belong_to_the_task_around, "race.task", "design 3"),
    portable!(dropped_race_drops_its_branches, "race.drop", "design 3"),
    portable!(race_leaves_the_scope_around_alone, "race.scope", "design 3"),
];

async fn first_value_decides() -> Result<()> {
    assert_eq!(race(after(2, 1), after(1, "b")).await?, Either::Right("b"));
    assert_eq!(race(after(1, 1), after(2, "b")).await?, Either::Left(1));
    assert_eq!(race_all([after(3, 3), after(1, 1), after(2, 2)]).await?, 1);
    Ok(())
}

async fn losers_are_cancelled_and_awaited() -> Result<()> {
    let (log, begin) = (Log::new(), trine::now());
    let winner = race(after(1, "winner"), cleans_up(&log)).await?;
    assert_eq!((winner, log.take().len(), trine::now() - begin), (Either::Left("winner"), 1, SECOND * 4));
    Ok(())
}

async fn loser_that_never_ran_runs_to_a_checkpoint() -> Result<()> {
    let log = Log::new();
    let loser = async {
        log.add("ran");
        checkpoint().await?;
        log.add("went on");
        Ok(())
    };
    let winner = race_all([Box::pin(loser) as std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>, {
        Box::pin(async { Ok(()) })
    }]);
    winner.await?;
    let events = log.take();
    assert_eq!(events, ["ran"]);
    Ok(())
}

/// As it is, in no group.
async fn first_error_decides() -> Result<()> {
    let log = Log::new();
    let error = error_of(race(fails_after(1, 1), cleans_up(&log)).await);
    assert_eq!((error.is_group(), oopses(&error), log.take().len()), (false, vec![1], 1));
    Ok(())
}

async fn loser_s_real_error_beats_the_value() -> Result<()> {
    let error = error_of(race(after(1, ()), fails_when_cancelled(2)).await);
    assert_eq!((error.is_group(), oopses(&error), error.leaves().count()), (false, vec![2], 1));
    Ok(())
}

async fn two_real_errors_are_a_group() -> Result<()> {
    let error = error_of(race(fails_when_cancelled(2), fails_after(1, 1)).await);
    assert_eq!((error.is_group(), oopses(&error), error.leaves().count()), (true, vec![1, 2], 2));
    Ok(())
}

async fn loser_s_value_is_dropped() -> Result<()> {
    let live = Live::new();
    let winner = race(after(1, ()), async {
        let _ = trine::sleep_forever().await;
        Ok(live.guard())
    })
    .await?;
    assert!(matches!(winner, Either::Left(())));
    assert_eq!(live.count(), 0);
    Ok(())
}

async fn foreign_loser_is_dropped() -> Result<()> {
    let (live, begin) = (Live::new(), trine::now());
    let winner = race(after(1, ()), async {
        let _guard = live.guard();
        pending::<Result<()>>().await
    })
    .await?;
    assert_eq!((winner, live.count(), trine::now() - begin), (Either::Left(()), 0, SECOND));
    Ok(())
}

async fn shielded_loser_is_awaited() -> Result<()> {
    let begin = trine::now();
    let winner = race(after(1, ()), shielded(after(5, "late"))).await?;
    assert_eq!((winner, trine::now() - begin), (Either::Left(()), SECOND * 5));
    Ok(())
}

async fn race_of_none_waits_for_cancellation() -> Result<()> {
    let (begin, none) = (trine::now(), Vec::<Ready<Result<()>>>::new());
    assert_eq!(move_on_after(SECOND, race_all(none)).await?, None);
    assert_eq!(trine::now() - begin, SECOND);
    Ok(())
}

async fn race_of_one_is_that_one() -> Result<()> {
    assert_eq!(race_all([after(1, 5)]).await?, 5);
    let error = error_of(race_all([fails_after(1, 1)]).await);
    assert_eq!((error.is_group(), oopses(&error)), (false, vec![1]));
    Ok(())
}

async fn race_of_a_thousand() -> Result<()> {
    let live = Live::new();
    let first = race_all((0..1_000).map(|i| {
        let guard = live.guard();
        async move {
            let _guard = guard;
            after(1 + (i + 500) % 1_000, i).await
        }
    }))
    .await?;
    assert_eq!((first, live.count()), (500, 0));
    Ok(())
}

async fn cancel_from_outside_cancels_all() -> Result<()> {
    let (log, live) = (Log::new(), Live::new());
    let cut = move_on_after(SECOND, race(cleans_up(&log), cleans_up(&log))).await?;
    assert_eq!((cut, log.take().len()), (None, 2));
    let foreign = race_all((0..3).map(|_| async {
        let _guard = live.guard();
        pending::<Result<u32>>().await
    }));
    assert_eq!((move_on_after(SECOND, foreign).await?, live.count()), (None, 0));
    Ok(())
}

/// One branch makes a value of its cancel.
async fn value_beats_a_cancel_from_outside() -> Result<()> {
    let scope = CancelScope::after(SECOND);
    let value = scope
        .run(race(forever(), async {
            let _ = trine::sleep_forever().await;
            Ok(8)
        }))
        .await;
    // The other one was cancelled first or second: it decides, or its cancellation is no match for a value.
    match value {
        Ok(Some(Either::Right(8))) => assert!(!scope.cancelled_caught()),
        Ok(None) => assert!(scope.cancelled_caught()),
        other => panic!("{other:?}"),
    }
    Ok(())
}

async fn panic_of_a_branch_goes_on_after_the_others() -> Result<()> {
    let log = Log::new();
    let text = panic_of(race(cleans_up(&log), async {
        after(1, ()).await?;
        if trine::checkpoint_if_cancelled().is_ok() {
            panic!("branch");
        }
        Ok(())
    }))
    .await;
    assert_eq!((text.as_str(), log.take().len()), ("branch", 1));
    Ok(())
}

async fn races_nest_and_borrow() -> Result<()> {
    let words = [String::from("a"), String::from("b")];
    let first = race(
        race(after(3, words[0].as_str()), after(2, words[1].as_str())),
        race_all(words.iter().map(|word| after(4, word))),
    )
    .await?;
    assert_eq!(first, Either::Left(Either::Right("b")));
    Ok(())
}

async fn branches_belong_to_the_task_around() -> Result<()> {
    nursery(async |n| {
        let child = n.task("racer").spawn(async {
            let task = || trine::inspect::current_task().map(|task| (task.id, task.name));
            let own = task();
            assert!(own.as_ref().is_some_and(|(_, name)| name.as_deref() == Some("racer")));
            race_all((0..2).map(|i| {
                let own = own.clone();
                async move {
                    after(i, ()).await?;
                    assert_eq!(task(), own);
                    Ok(())
                }
            }))
            .await
        });
        Ok(child.await?)
    })
    .await
}

async fn dropped_race_drops_its_branches() -> Result<()> {
    let (live, gate) = (Live::new(), Gate::new());
    for _ in 0..2 {
        let branch = || async {
            let _guard = live.guard();
            gate.opened().await;
            forever().await
        };
        let mut racing = Box::pin(race(branch(), branch()));
        assert!(super::nursery_tools::poll_here(&mut racing).await.is_pending());
        assert_eq!(live.count(), 2);
        drop(racing);
        assert_eq!(live.count(), 0);
        gate.open();
    }
    Ok::<_, Error>(())
}

async fn race_leaves_the_scope_around_alone() -> Result<()> {
    let scope = CancelScope::new();
    let value = scope
        .run(async {
            race(after(1, ()), forever()).await?;
            error_of(race(fails_after(1, 1), forever()).await);
            checkpoint().await?;
            Ok(4)
        })
        .await?;
    assert_eq!((value, scope.cancel_called()), (Some(4), false));
    Ok(())
}

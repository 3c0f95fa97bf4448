//! Races: the first to finish decides, the others are cancelled and awaited.

use crate::support::{Live, Log, Oops, oopses};
use std::time::Duration;
use trine::testing::run;
use trine::{CancelScope, Either, Error, Result, race, race_all};

async fn after<T>(secs: u64, value: T) -> Result<T> {
    trine::sleep(Duration::from_secs(secs)).await?;
    Ok(value)
}

async fn fails_after(secs: u64, n: u32) -> Result<u32> {
    trine::sleep(Duration::from_secs(secs)).await?;
    Err(Oops(n).into())
}

#[test]
fn the_first_value_decides() {
    assert_eq!(run(race(after(2, 1), after(1, "b"))).unwrap(), Either::Right("b"));
    assert_eq!(run(race(after(1, 1), after(2, "b"))).unwrap(), Either::Left(1));
    assert_eq!(run(race_all([after(3, 3), after(1, 1), after(2, 2)])).unwrap(), 1);
}

#[test]
fn losers_are_cancelled_and_awaited() {
    let log = Log::new();
    let result = run(race(after(1, "winner"), async {
        let result = trine::sleep_forever().await;
        trine::shielded(after(5, ())).await?;
        log.add("cleaned up");
        result?;
        Ok(())
    }));
    assert_eq!(result.unwrap(), Either::Left("winner"));
    assert_eq!(log.take(), ["cleaned up"]);
}

#[test]
fn losers_are_cancelled_when_the_winner_is_ready_at_once() {
    let log = Log::new();
    let result = run(race(async { Ok(1) }, async {
        // It is polled, and told at its first checkpoint.
        log.add("polled");
        trine::checkpoint().await?;
        unreachable!("it has lost");
        #[expect(unreachable_code, reason = "the type")]
        Ok(())
    }));
    assert_eq!(result.unwrap(), Either::Left(1));
    assert_eq!(log.take(), ["polled"]);
}

#[test]
fn the_first_error_decides() {
    let error = run(race(fails_after(1, 1), after(2, ()))).unwrap_err();
    assert!(!error.is_group());
    assert_eq!(error.downcast::<Oops>().unwrap(), Oops(1));
}

#[test]
fn a_real_error_of_a_loser_wins_over_the_value() {
    let error = run(race(after(1, ()), async {
        let _ = trine::sleep_forever().await;
        Err::<(), _>(Oops(2).into())
    }))
    .unwrap_err();
    assert_eq!(oopses(&error), [2]);
}

#[test]
fn two_real_errors_form_a_group() {
    let error = run(race(fails_after(1, 1), async {
        let _ = trine::sleep_forever().await;
        Err::<(), _>(Oops(2).into())
    }))
    .unwrap_err();
    assert!(error.is_group());
    assert_eq!(oopses(&error), [1, 2]);
}

#[test]
fn a_loser_s_value_is_dropped() {
    let live = Live::new();
    run(race(after(1, ()), async {
        let _ = trine::sleep_forever().await;
        Ok(live.guard())
    }))
    .unwrap();
    assert_eq!(live.count(), 0);
}

#[test]
fn a_foreign_loser_is_dropped() {
    let live = Live::new();
    let result = run(race(after(1, ()), async {
        let _guard = live.guard();
        std::future::pending::<()>().await;
        Ok(())
    }));
    assert_eq!((result.unwrap(), live.count()), (Either::Left(()), 0));
}

#[test]
fn a_race_of_none_waits_for_cancellation() {
    let none: [std::future::Ready<Result<()>>; 0] = [];
    let result = run(trine::move_on_after(Duration::from_secs(1), race_all(none)));
    assert_eq!(result.unwrap(), None);
}

#[test]
fn a_race_cancelled_from_outside_is_cancelled() {
    let scope = CancelScope::new();
    let result = run(scope.run(race(
        async {
            trine::checkpoint().await?;
            scope.cancel();
            trine::sleep_forever().await?;
            Ok(())
        },
        async { after(9, ()).await },
    )));
    assert!(result.unwrap().is_none() && scope.cancelled_caught());
}

#[test]
fn a_race_cancelled_from_outside_with_foreign_branches_drops_them() {
    let live = Live::new();
    let result: Result<Option<u32>> = run(trine::move_on_after(
        Duration::from_secs(1),
        race_all((0..3).map(|_| async {
            let _guard = live.guard();
            std::future::pending::<()>().await;
            Ok(1)
        })),
    ));
    assert_eq!((result.unwrap(), live.count()), (None, 0));
}

#[test]
fn a_panic_of_a_branch_goes_on_after_the_other_has_ended() {
    let log = Log::new();
    let text = crate::support::panic_text(|| {
        let result: Result<Either<(), ()>> = run(race(
            async {
                trine::checkpoint().await?;
                panic!("branch");
            },
            async {
                let _ = trine::sleep_forever().await;
                trine::shielded(after(1, ())).await?;
                log.add("cleaned up");
                Ok(())
            },
        ));
        drop(result);
    });
    assert_eq!((text.as_str(), log.take()), ("branch", vec!["cleaned up"]));
}

#[test]
fn races_nest_and_borrow() {
    let words = [String::from("a"), String::from("b")];
    let first = run(race(
        race(after(3, words[0].as_str()), after(2, words[1].as_str())),
        race_all(words.iter().map(|w| after(4, w))),
    ))
    .unwrap();
    assert_eq!(first, Either::Left(Either::Right("b")));
}

#[test]
fn branches_belong_to_the_task_around() {
    run(async {
        let me = trine::inspect::current_task().map(|t| t.id);
        race(
            async {
                assert_eq!(trine::inspect::current_task().map(|t| t.id), me);
                Ok(())
            },
            after(1, ()),
        )
        .await?;
        Ok::<_, Error>(())
    })
    .unwrap();
}

//! What a program is told when it cannot go on: deadlocks, runs in runs, backends that are not there.

use crate::support::panic_text;
use std::time::Duration;
use trine::sync::Mutex;
use trine::testing::{MockClock, run};
use trine::{Builder, Error, Result, RunError};

#[test]
fn a_deadlock_report_shows_task_operation_and_line() {
    let (tx, rx) = trine::channel::<u32>(0);
    let text = panic_text(|| {
        run(trine::nursery(async |n| {
            n.task("consumer").start_soon(async {
                rx.recv().await?;
                rx.recv().await?; // line of the wait
                Ok(())
            });
            tx.send(1).await?;
            trine::move_on_after(Duration::from_secs(5), async { Ok(trine::sleep(Duration::from_secs(1)).await?) })
                .await?;
            trine::sync::Event::new().wait().await?;
            Ok(())
        }))
        .unwrap();
    });
    let line = include_str!("report.rs").lines().position(|l| l.contains("// line of the wait")).unwrap() + 1;
    assert!(text.contains("deadlock"), "{text}");
    assert!(text.contains(&format!("report.rs:{line}")), "line {line} in:\n{text}");
    for word in ["`consumer`", "recv", "wait", "nursery at", "body"] {
        assert!(text.contains(word), "{word} in:\n{text}");
    }
}

#[test]
fn a_deadlock_is_an_error_of_try_run() {
    let mutex = Mutex::new(());
    let result = Builder::new().clock(MockClock::new().autojump()).try_run(async {
        let _guard = mutex.lock().await?;
        let _again = mutex.lock().await?;
        Ok::<_, Error>(())
    });
    match result {
        Err(RunError::Deadlock(tree)) => assert!(tree.to_string().contains("main: waits in"), "{tree}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_in_a_run_is_refused_with_the_fix() {
    let text = panic_text(|| trine::run(async { trine::run(async {}) }));
    assert!(text.contains("await the future instead of running it"), "{text}");
    let inner = trine::run(async { Builder::new().try_run(async {}) });
    assert!(matches!(inner, Err(RunError::Nested)));
    // Also from a child, a scope, and a destructor.
    let result: Result<()> = trine::run(trine::nursery(async |n| {
        n.start_soon(async {
            assert!(matches!(Builder::new().try_run(async {}), Err(RunError::Nested)));
            let _check = crate::support::OnDrop(|| {
                assert!(matches!(Builder::new().try_run(async {}), Err(RunError::Nested)));
            });
            Ok(())
        });
        Ok(())
    }));
    result.unwrap();
}

#[test]
fn runs_on_several_threads_do_not_meet() {
    trine::run(async {
        let other = std::thread::spawn(|| trine::run(async { 3 }));
        assert_eq!(other.join().unwrap(), 3);
    });
}

#[test]
fn an_unknown_backend_is_named_with_those_that_are_there() {
    let error = "epoll".parse::<trine::backend::Backend>().unwrap_err();
    assert_eq!(error.name(), "epoll");
    assert!(error.to_string().contains("`epoll`") && error.to_string().contains("native"), "{error}");
}

/// Runs this binary again, with the variable set: it is read in the process that runs.
fn with_backend(name: &str) -> (bool, String) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "report::inner_run", "--nocapture"])
        .env("TRINE_BACKEND", name)
        .env("TRINE_TEST_INNER", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.success(), text)
}

/// The inner half of the test below: under the variable that it sets.
#[test]
fn inner_run() {
    if std::env::var_os("TRINE_TEST_INNER").is_none() {
        return;
    }
    trine::run(async {});
    assert!(Builder::new().try_run(async {}).is_ok());
}

#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn the_environment_names_the_backend() {
    let (ok, text) = with_backend("native");
    assert!(ok, "{text}");
    let (ok, text) = with_backend("");
    assert!(ok, "{text}");
    let (ok, text) = with_backend("no-such-thing");
    assert!(!ok && text.contains("unknown backend `no-such-thing`"), "{text}");
}

#[test]
fn the_tree_is_empty_outside_of_a_run() {
    assert_eq!(trine::inspect::tree().to_string(), "");
    assert!(trine::inspect::current_task().is_none());
    assert!(trine::backend::current().is_none());
    assert_eq!(trine::run(async { trine::backend::current().unwrap().name() }), "native");
}

#[test]
fn a_scope_that_is_entered_twice_says_what_to_do() {
    let scope = trine::CancelScope::new();
    let text = panic_text(|| {
        trine::run(async {
            scope.run(async { Ok(()) }).await.unwrap();
            scope.run(async { Ok(()) }).await.unwrap();
        });
    });
    assert!(text.contains("entered only once"), "{text}");
}

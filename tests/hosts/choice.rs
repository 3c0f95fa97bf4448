//! Which backend serves: chosen, named by the environment, found, or missing.

use std::io;
use std::process::Command;

use trine::net::TcpListener;
use trine::{Builder, Result, RunError, backend};

use crate::support::{checked_tree, current_thread, multi_thread, panic_text};

fn bare() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn all_backends_are_here_under_their_names() {
    let names: Vec<_> = backend::available().iter().map(|b| b.name()).collect();
    assert_eq!(names, ["native", "tokio", "async-io"]);
    for name in names {
        assert_eq!(name.parse::<backend::Backend>().unwrap().name(), name);
    }
}

/// The other half of the next test, in a process with another environment.
#[test]
fn the_environment_names_the_backend_or_it_is_native() {
    let expected = std::env::var("TRINE_BACKEND").unwrap_or_else(|_| "native".to_owned());
    match backend::from_env() {
        Ok(found) => {
            assert_eq!(found.name(), expected);
            assert_eq!(trine::run(checked_tree()), expected);
        }
        Err(error) => {
            assert_eq!(error.name(), "twisted");
            assert!(matches!(Builder::new().try_run(async {}), Err(RunError::UnknownBackend(e)) if e == error));
        }
    }
}

#[test]
fn each_name_in_the_environment_is_taken() {
    for name in ["native", "tokio", "async-io", "twisted"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "choice::the_environment_names_the_backend_or_it_is_native"])
            .env("TRINE_BACKEND", name)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success() && text.contains("1 passed"), "{name}: {text}");
    }
}

#[test]
fn a_run_on_tokio_inside_tokio_is_refused_with_the_fix() {
    for runtime in [current_thread(), multi_thread()] {
        runtime.block_on(async {
            let on_tokio = || Builder::new().backend(backend::tokio());
            assert!(matches!(on_tokio().try_run(async {}), Err(RunError::Nested)));
            let text = panic_text(|| on_tokio().run(async {}));
            assert!(text.contains("await the future instead of running it"), "{text}");
            let task = tokio::spawn(async move { on_tokio().try_run(async {}).is_err() });
            assert!(task.await.unwrap());
            // tokio's own budget is as it was.
            assert!(tokio::task::coop::has_budget_remaining());
            assert_eq!(checked_tree().await, "tokio");
        });
    }
}

#[test]
fn a_run_on_another_thread_of_tokio_is_allowed() {
    current_thread().block_on(async {
        let run = || Builder::new().backend(backend::tokio()).run(checked_tree());
        assert_eq!(tokio::task::spawn_blocking(run).await.unwrap(), "tokio");
    });
}

#[test]
fn a_run_inside_a_run_is_refused_by_each_backend() {
    for backend in backend::available() {
        Builder::new().backend(backend.clone()).run(async {
            let nested = Builder::new().backend(backend).try_run(async {});
            assert!(matches!(nested, Err(RunError::Nested)));
        });
    }
}

#[test]
fn a_chosen_backend_overrides_what_is_there() {
    current_thread().block_on(async {
        assert_eq!(backend::async_io().host(checked_tree()).await, "async-io");
    });
    let elsewhere = multi_thread();
    let hosted = backend::tokio_handle(elsewhere.handle().clone()).host(checked_tree());
    assert_eq!(pollster::block_on(hosted), "tokio");
    assert_eq!(Builder::new().backend(backend::tokio_handle(elsewhere.handle().clone())).run(checked_tree()), "tokio");
}

#[test]
fn a_backend_that_cannot_host_says_so() {
    let (error, text) = pollster::block_on(backend::native().host(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = listener.accept().await.unwrap_err();
        (error, backend::current().unwrap().name())
    }));
    assert_eq!((error.kind(), text), (io::ErrorKind::Unsupported, "native"));
    let text = panic_text(|| drop(pollster::block_on(backend::native().host(trine::sleep(crate::support::MS)))));
    assert!(text.contains("`async-io`") && text.contains("`tokio`") && text.contains("trine::run"), "{text}");
}

#[test]
fn a_runtime_without_drivers_leaves_its_trees_to_async_io() {
    for runtime in [
        bare(),
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap(),
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap(),
    ] {
        assert_eq!(runtime.block_on(checked_tree()), "async-io");
    }
}

#[test]
fn a_chosen_runtime_without_drivers_is_an_error_with_the_fix() {
    let runtime = bare();
    let accept = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        listener.accept().await
    };
    let error = pollster::block_on(backend::tokio_handle(runtime.handle().clone()).host(accept)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("enable_all"), "{error}");
}

#[test]
fn a_runtime_that_is_gone_cannot_be_run_on() -> Result<()> {
    let runtime = current_thread();
    let gone = backend::tokio_handle(runtime.handle().clone());
    drop(runtime);
    let error = Builder::new().backend(gone).try_run(async {}).unwrap_err();
    assert!(matches!(error, RunError::Io(e) if e.kind() == io::ErrorKind::NotConnected));
    Ok(())
}

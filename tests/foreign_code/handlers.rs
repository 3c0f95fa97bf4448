//! A router as in axum: handlers behind `dyn Fn`, each request a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use trine::{Error, Result, TooSlow, cancellable, fail_after, finally, move_on_after, nursery, race};

use crate::{Boxed, LONG, MS, on_threads};

struct State {
    served: AtomicUsize,
    words: trine::sync::Mutex<Vec<String>>,
}

struct Request {
    path: &'static str,
    body: Vec<u64>,
    state: Arc<State>,
}

#[derive(Debug, PartialEq, Eq)]
struct Response {
    status: u16,
    body: String,
}

type Handler = Box<dyn Fn(Request) -> Boxed<'static, Response> + Send + Sync>;

/// Whatever can be an answer.
trait IntoResponse {
    fn into_response(self) -> Response;
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response { status: 200, body: self }
    }
}

impl<T: IntoResponse> IntoResponse for Result<T> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(e) if e.find::<TooSlow>().is_some() => Response { status: 504, body: String::new() },
            Err(e) => Response { status: 500, body: e.into_single().to_string() },
        }
    }
}

#[derive(Default)]
struct Router(HashMap<&'static str, Handler>);

impl Router {
    fn route<F, Fut>(mut self, path: &'static str, handler: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoResponse> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let boxed = move |request| -> Boxed<'static, Response> {
            let handler = Arc::clone(&handler);
            Box::pin(async move { handler(request).await.into_response() })
        };
        self.0.insert(path, Box::new(boxed));
        self
    }

    async fn answer(&self, request: Request) -> Response {
        match self.0.get(request.path) {
            Some(handler) => handler(request).await,
            None => Response { status: 404, body: String::new() },
        }
    }
}

fn router() -> Arc<Router> {
    let router = Router::default()
        .route("/sum", sum)
        .route("/pipeline", pipeline)
        .route("/stuck", stuck)
        .route("/fails", fails)
        .route("/offload", offload)
        .route("/words", words)
        .route("/closure", |request: Request| async move {
            let served = &request.state.served;
            let (tx, rx) = trine::channel(0);
            nursery(async move |n| {
                n.start_soon(async move { Ok(tx.send(served.fetch_add(1, Ordering::Relaxed)).await?) });
                rx.recv().await?;
                Ok("closure".to_owned())
            })
            .await
        });
    Arc::new(router)
}

/// Children borrow the request.
async fn sum(request: Request) -> Result<String> {
    let sum = nursery(async |n| {
        let parts: Vec<_> = request
            .body
            .chunks(3)
            .map(|part| {
                n.spawn(async move {
                    trine::checkpoint().await?;
                    Ok(part.iter().sum::<u64>())
                })
            })
            .collect();
        let mut sum = 0;
        for part in parts {
            sum += part.await?;
        }
        Ok(sum)
    })
    .await?;
    request.state.served.fetch_add(1, Ordering::Relaxed);
    Ok(sum.to_string())
}

/// Children that are connected by channels, under a timeout.
async fn pipeline(request: Request) -> Result<String> {
    fail_after(
        LONG,
        nursery(async |n| {
            let (tx, numbers) = trine::channel(1);
            let (doubled, rx) = trine::channel(0);
            n.start_soon(async {
                let tx = tx;
                for &number in &request.body {
                    tx.send(number).await?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            });
            n.start_soon(async move {
                while let Some(number) = numbers.try_next().await? {
                    doubled.send(2 * number).await?;
                }
                Ok(())
            });
            let mut sum = 0;
            while let Some(number) = rx.try_next().await? {
                sum += number;
            }
            Ok(sum.to_string())
        }),
    )
    .await
}

/// One child will never end; the clean-up is done all the same.
async fn stuck(request: Request) -> Result<String> {
    let served = &request.state.served;
    fail_after(
        MS,
        nursery(async move |n| {
            n.start_soon(finally(async { Ok(std::future::pending().await) }, async move {
                trine::checkpoint().await?;
                served.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }));
            trine::sleep_forever().await?;
            Ok(String::new())
        }),
    )
    .await
}

/// The error of one child ends the other.
async fn fails(request: Request) -> Result<String> {
    nursery(async |n| {
        n.start_soon(async {
            trine::sleep(LONG).await?;
            Ok(())
        });
        n.task("parser").start_soon(async {
            "seven".parse::<u64>()?;
            Ok(())
        });
        Ok(request.path.to_owned())
    })
    .await
}

/// Work for other tasks and threads of tokio.
async fn offload(request: Request) -> Result<String> {
    let body = Arc::new(request.body);
    let (one, two) = (body.clone(), body.clone());
    let sum = cancellable(tokio::task::spawn_blocking(move || one.iter().sum::<u64>())).await??;
    let len = cancellable(tokio::spawn(nursery(async move |n| Ok(n.spawn(async move { Ok(two.len()) }).await?))));
    let len = len.await???;
    let quick = race(async { Ok(tokio::task::yield_now().await) }, trine::lift(trine::sleep(LONG))).await?;
    assert!(matches!(quick, trine::Either::Left(())));
    Ok(format!("{sum} {len}"))
}

/// A lock that all requests want, held across waits.
async fn words(request: Request) -> Result<String> {
    let mut words = request.state.words.lock().await?;
    let before = words.len();
    words.push(request.path.to_owned());
    assert!(move_on_after(MS, async { Ok(std::future::pending::<()>().await) }).await?.is_none());
    tokio::task::yield_now().await;
    assert_eq!(words.len(), before + 1);
    Ok("word".to_owned())
}

fn expected(path: &str) -> Response {
    let (status, body) = match path {
        "/sum" => (200, "45"),
        "/pipeline" => (200, "90"),
        "/stuck" => (504, ""),
        "/fails" => (500, "invalid digit found in string"),
        "/offload" => (200, "45 9"),
        "/words" => (200, "word"),
        "/closure" => (200, "closure"),
        _ => (404, ""),
    };
    Response { status, body: body.to_owned() }
}

#[test]
fn each_request_is_answered_in_a_task_of_its_own() {
    const EACH: usize = 8;
    const PATHS: [&str; 8] = ["/sum", "/pipeline", "/stuck", "/fails", "/offload", "/words", "/closure", "/none"];
    on_threads(async {
        let router = router();
        let state = Arc::new(State { served: AtomicUsize::new(0), words: trine::sync::Mutex::new(Vec::new()) });
        let mut requests = tokio::task::JoinSet::new();
        for path in PATHS.into_iter().cycle().take(EACH * PATHS.len()) {
            let (router, state) = (router.clone(), state.clone());
            let request = Request { path, body: (1..10).collect(), state };
            requests.spawn(async move { (path, router.answer(request).await) });
        }
        while let Some(answered) = requests.join_next().await {
            let (path, response) = answered.unwrap();
            assert_eq!(response, expected(path), "{path}");
        }
        // Counted by /sum, /closure and the clean-up of /stuck.
        assert_eq!(state.served.load(Ordering::Relaxed), 3 * EACH);
        assert_eq!(state.words.try_lock().unwrap().len(), EACH);
    });
}

#[test]
fn an_aborted_request_leaves_nothing_behind() {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    on_threads(async {
        let held = Arc::new(AtomicUsize::new(0));
        let (begun, begins) = tokio::sync::oneshot::channel();
        let count = held.clone();
        let request = tokio::spawn(nursery(async move |n| {
            for _ in 0..5 {
                count.fetch_add(1, Ordering::Relaxed);
                let held = Held(count.clone());
                n.start_soon(async move {
                    let _held = held;
                    trine::sleep_forever().await?;
                    Ok(())
                });
            }
            trine::checkpoint().await?;
            begun.send(()).map_err(|()| Error::msg("nobody waits"))?;
            trine::sleep_forever().await?;
            Ok(())
        }));
        begins.await.unwrap();
        assert_eq!(held.load(Ordering::Relaxed), 5);
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        assert_eq!(held.load(Ordering::Relaxed), 0);
    });
}

//! Layers around a service, as in tower: what a layer adds is a named future or a future that it keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use trine::sync::{OwnedPermit, Semaphore, SemaphoreAcquireOwned};
use trine::{Error, FailAfter, Lift, Result, TooSlow, fail_after, lift, nursery};

use crate::{Boxed, LONG, MS, on_threads};

/// tower's trait, word for word.
trait Service<Request> {
    type Response;
    type Error;
    type Future: Future<Output = Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;
    fn call(&mut self, request: Request) -> Self::Future;
}

/// Calls once the service is ready.
async fn oneshot<R, S: Service<R>>(mut service: S, request: R) -> Result<S::Response, S::Error> {
    std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

#[derive(Debug, thiserror::Error)]
#[error("{0} is odd")]
struct Odd(u64);

/// A service that knows nothing of Trine. It takes odd numbers for errors, and never answers to 0.
#[derive(Clone, Default)]
struct Halves {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// One call that runs, until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(running: &Arc<AtomicUsize>, most: &AtomicUsize) -> Self {
        most.fetch_max(running.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
        Self(running.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Service<u64> for Halves {
    type Response = u64;
    type Error = Odd;
    type Future = Boxed<'static, Result<u64, Odd>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Odd>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u64) -> Self::Future {
        let (running, most) = (self.running.clone(), self.most.clone());
        Box::pin(async move {
            let _running = Running::begin(&running, &most);
            if number == 0 {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(MS).await;
            if number % 2 == 0 { Ok(number / 2) } else { Err(Odd(number)) }
        })
    }
}

/// Its future needs no box.
#[derive(Clone)]
struct Timeout<S> {
    limit: Duration,
    inner: S,
}

impl<R, S> Service<R> for Timeout<S>
where
    S: Service<R, Error: Into<Error>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = FailAfter<Lift<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        fail_after(self.limit, lift(self.inner.call(request)))
    }
}

/// Ready once it has a permit; the wait for it is kept between polls.
struct Limit<S> {
    semaphore: Arc<Semaphore>,
    waiting: Option<std::pin::Pin<Box<SemaphoreAcquireOwned>>>,
    permit: Option<OwnedPermit>,
    inner: S,
}

impl<S> Limit<S> {
    fn new(semaphore: Arc<Semaphore>, inner: S) -> Self {
        Self { semaphore, waiting: None, permit: None, inner }
    }
}

impl<S: Clone> Clone for Limit<S> {
    fn clone(&self) -> Self {
        Self::new(self.semaphore.clone(), self.inner.clone())
    }
}

impl<R, S> Service<R> for Limit<S>
where
    S: Service<R, Error = Error>,
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = Error;
    type Future = Boxed<'static, Result<S::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.permit.is_none() {
            let semaphore = &self.semaphore;
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(semaphore.clone().acquire_owned()));
            let permit = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            self.permit = Some(permit?);
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let permit = self.permit.take().expect("it was ready");
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _permit = permit;
            answer.await
        })
    }
}

/// Asks twice at the same time and takes both answers, children of one nursery.
#[derive(Clone)]
struct Twice<S>(S);

impl<R, S> Service<R> for Twice<S>
where
    R: Clone + Send + 'static,
    S: Service<R, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send + 'static,
{
    type Response = (S::Response, S::Response);
    type Error = Error;
    type Future = Boxed<'static, Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        // The clones are asked when they are used.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (one, two) = (self.0.clone(), self.0.clone());
        Box::pin(nursery(async move |n| {
            let other = n.spawn(oneshot(two, request.clone()));
            let one = oneshot(one, request).await?;
            Ok((one, other.await?))
        }))
    }
}

/// A service of any make, as one passes it around.
type BoxService =
    Box<dyn Service<u64, Response = (u64, u64), Error = Error, Future = Boxed<'static, Result<(u64, u64)>>> + Send>;

#[test]
fn layers_around_a_foreign_service_run_in_tasks() {
    const PERMITS: usize = 3;
    on_threads(async {
        let halves = Halves::default();
        let semaphore = Arc::new(Semaphore::new(PERMITS));
        let stack = Twice(Limit::new(semaphore.clone(), Timeout { limit: LONG, inner: halves.clone() }));
        let calls: Vec<_> = (1..=20)
            .map(|number| {
                let service: BoxService = Box::new(stack.clone());
                tokio::spawn(async move { (number, call(service, number).await) })
            })
            .collect();
        for answered in calls {
            let (number, answer) = answered.await.unwrap();
            match answer {
                Ok(halves) => assert_eq!(halves, (number / 2, number / 2)),
                Err(e) => assert_eq!(e.find::<Odd>().map(|odd| odd.0), Some(number)),
            }
        }
        // Also those that were cancelled, because the other half failed, had a permit as long as they ran.
        assert_eq!(halves.running.load(Ordering::Acquire), 0);
        assert!(halves.most.load(Ordering::Acquire) <= PERMITS);
        assert_eq!(semaphore.available(), PERMITS);
    });
}

async fn call(mut service: BoxService, number: u64) -> Result<(u64, u64)> {
    std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(number).await
}

#[test]
fn a_service_without_an_answer_is_too_slow() {
    on_threads(async {
        let semaphore = Arc::new(Semaphore::new(1));
        let service = Limit::new(semaphore.clone(), Timeout { limit: MS, inner: Halves::default() });
        let calls: Vec<_> = (0..4).map(|_| tokio::spawn(oneshot(service.clone(), 0))).collect();
        for call in calls {
            assert!(call.await.unwrap().unwrap_err().find::<TooSlow>().is_some());
        }
        assert_eq!(semaphore.available(), 1);
    });
}

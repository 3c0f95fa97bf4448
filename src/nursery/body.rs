//! The bound that lets a nursery know that its body is `Send`.

use std::future::Future;

/// A function of one argument that returns a `Send` future. Implemented for every such function and async closure.
pub trait Body<Arg>: FnOnce(Arg) -> Self::Fut {
    /// What the future returns.
    type Out;
    /// The future.
    type Fut: Future<Output = Self::Out> + Send;
}

impl<Arg, F, Fut> Body<Arg> for F
where
    F: FnOnce(Arg) -> Fut,
    Fut: Future + Send,
{
    type Out = Fut::Output;
    type Fut = Fut;
}

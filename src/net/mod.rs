//! TCP: streams, listeners, and a server loop.
//!
//! Names and methods are those of std, with `async` in front of what waits. All of it takes `&self`, so two children
//! of a nursery may share a connection by plain borrow, one that reads and one that writes; a second task in the same
//! direction gets [`ResourceBusy`](std::io::ErrorKind::ResourceBusy).
//!
//! Every operation that waits is a checkpoint. A cancellation is an [`io::Error`](std::io::Error), and `?` carries it to
//! the scope that is cancelled, as [`is_cancelled`](crate::is_cancelled) explains. Where nothing can serve a socket
//! (a future polled by an executor that no backend knows), they fail with
//! [`Unsupported`](std::io::ErrorKind::Unsupported).
//!
//! | file | what is in it |
//! |---|---|
//! | `source` | a descriptor and its readiness: try first, wait only if the system says so |
//! | `wait` | the checkpoint around it: cancellation, and who is waiting where |
//! | `contend` | poll-based operations that wait, or have been given up |
//! | `stream` | what all byte streams share |
//! | `addresses` | what can be connected to, and the lookup of names |
//! | `tcp` | [`TcpStream`], [`TcpListener`] |
//! | `transfer` | the system calls that move bytes |
//! | `serve` | [`serve`], [`Listener`] |

mod addresses;
pub(crate) mod contend;
mod serve;
pub(crate) mod source;
mod stream;
mod tcp;
mod transfer;
pub(crate) mod wait;

pub use addresses::{Addresses, ToSocketAddrs};
pub use serve::{Listener, serve};
pub use std::net::Shutdown;
pub use stream::{Read, ShutDown, Write, WriteAll};
pub use tcp::{Accept, Bind, Connect, TcpListener, TcpStream};

//! What can be connected or bound to, and the lookup of names.

use std::future::Future;
use std::io;
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use crate::backend::current_handle;
use crate::run::{self, Outside};
use crate::task::park::{self, Entry, Op, Parked};

/// What can be turned into socket addresses, as [`std::net::ToSocketAddrs`], but without blocking: a name is handed
/// over as it is, and looked up by a blocking job.
///
/// Implemented for socket addresses and slices of them, for pairs of address or host name and port, and for strings
/// like `"localhost:80"` and `"[::1]:80"`.
pub trait ToSocketAddrs {
    /// Returns the addresses, or the name to look up.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a string that has no valid port.
    fn addresses(&self) -> io::Result<Addresses>;
}

/// What [`ToSocketAddrs`] yields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Addresses {
    /// Addresses, in the order in which to try them.
    Known(Vec<SocketAddr>),
    /// A host name that has to be looked up, and a port.
    Name(String, u16),
}

impl ToSocketAddrs for SocketAddr {
    fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses::Known(vec![*self]))
    }
}

macro_rules! known {
    ($($address:ty),*) => {
        $(impl ToSocketAddrs for $address {
            fn addresses(&self) -> io::Result<Addresses> {
                SocketAddr::from(*self).addresses()
            }
        })*
    };
}

known!(SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for [SocketAddr] {
    fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses::Known(self.to_vec()))
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn addresses(&self) -> io::Result<Addresses> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => (ip, port).addresses(),
            Err(_) => Ok(Addresses::Name(host.to_owned(), port)),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    fn addresses(&self) -> io::Result<Addresses> {
        (self.0.as_str(), self.1).addresses()
    }
}

impl ToSocketAddrs for str {
    fn addresses(&self) -> io::Result<Addresses> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return address.addresses();
        }
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("not a host and a port: {self:?}"));
        let (host, port) = self.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        if host.is_empty() || host.contains(':') {
            return Err(invalid());
        }
        (host, port).addresses()
    }
}

impl ToSocketAddrs for String {
    fn addresses(&self) -> io::Result<Addresses> {
        self.as_str().addresses()
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn addresses(&self) -> io::Result<Addresses> {
        (**self).addresses()
    }
}

/// The addresses, once they are known: the first half of `connect` and `bind`, and their checkpoint.
#[derive(Debug)]
pub(crate) struct Resolve {
    addresses: Option<io::Result<Addresses>>,
    op: Op,
    at: &'static Location<'static>,
    entry: Option<Entry>,
    lookup: Option<(Arc<Lookup>, Option<Outside>)>,
}

/// A lookup that is on its way.
#[derive(Debug, Default)]
struct Lookup(Mutex<LookupState>);

/// Not both at once.
#[derive(Debug, Default)]
struct LookupState {
    outcome: Option<io::Result<Vec<SocketAddr>>>,
    waiter: Option<Parked>,
}

impl Resolve {
    pub(crate) fn new(addresses: io::Result<Addresses>, op: Op, at: &'static Location<'static>) -> Self {
        Self { addresses: Some(addresses), op, at, entry: Some(Entry::new()), lookup: None }
    }

    fn start(&mut self, host: String, port: u16) -> io::Result<()> {
        let lookup = Arc::new(Lookup::default());
        let job = Arc::clone(&lookup);
        current_handle()?.spawn_blocking(Box::new(move || job.finish(look_up(&host, port))))?;
        self.lookup = Some((lookup, run::outside()));
        Ok(())
    }
}

impl Lookup {
    fn lock(&self) -> MutexGuard<'_, LookupState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, outcome: io::Result<Vec<SocketAddr>>) {
        let waiter = {
            let mut state = self.lock();
            state.outcome = Some(outcome);
            state.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// The answer, or else a cancel, whose lookup goes on alone: the system cannot be told to stop.
    fn poll(&self, cx: &mut Context<'_>, op: Op, at: &'static Location<'static>) -> Poll<io::Result<Vec<SocketAddr>>> {
        let current = {
            let mut state = self.lock();
            if let Some(outcome) = state.outcome.take() {
                return Poll::Ready(outcome);
            }
            match &state.waiter {
                Some(waiter) if waiter.is_cancelled() => None,
                waiter => Some(waiter.as_ref().is_some_and(|w| w.is_current(cx))),
            }
        };
        match current {
            Some(true) => return Poll::Pending,
            Some(false) => {
                let waiter = Parked::new(cx, op, at);
                let mut state = self.lock();
                if let Some(outcome) = state.outcome.take() {
                    drop(state);
                    return Poll::Ready(outcome);
                }
                let cancelled = waiter.is_cancelled();
                let old = state.waiter.replace(waiter);
                drop(state);
                drop(old);
                if !cancelled {
                    return Poll::Pending;
                }
            }
            None => {}
        }
        let waiter = self.lock().waiter.take();
        drop(waiter);
        Poll::Ready(Err(park::cancelled().into()))
    }
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = net::ToSocketAddrs::to_socket_addrs(&(host, port))?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no address of {host:?}")));
    }
    Ok(found)
}

impl Future for Resolve {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(entry) = &mut self.entry {
            let entered = ready!(entry.poll(cx));
            self.entry = None;
            entered?;
        }
        match self.addresses.take().transpose()? {
            Some(Addresses::Known(known)) if known.is_empty() => {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, "no address given")));
            }
            Some(Addresses::Known(known)) => return Poll::Ready(Ok(known)),
            Some(Addresses::Name(host, port)) => self.start(host, port)?,
            None => {}
        }
        let (lookup, _) = self.lookup.as_ref().expect("polled after completion");
        lookup.poll(cx, self.op, self.at)
    }
}

impl Drop for Resolve {
    fn drop(&mut self) {
        if let Some((lookup, _)) = &self.lookup {
            let waiter = lookup.lock().waiter.take();
            drop(waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(address: &str) -> Addresses {
        Addresses::Known(vec![address.parse().unwrap()])
    }

    fn name(host: &str, port: u16) -> Addresses {
        Addresses::Name(host.into(), port)
    }

    #[test]
    fn numeric_addresses_need_no_lookup() {
        assert_eq!("127.0.0.1:80".addresses().unwrap(), known("127.0.0.1:80"));
        assert_eq!("[::1]:80".addresses().unwrap(), known("[::1]:80"));
        assert_eq!(("::1", 80).addresses().unwrap(), known("[::1]:80"));
        assert_eq!((Ipv4Addr::LOCALHOST, 80).addresses().unwrap(), known("127.0.0.1:80"));
    }

    #[test]
    fn names_are_handed_over_to_be_looked_up() {
        assert_eq!("localhost:80".addresses().unwrap(), name("localhost", 80));
        let host = String::from("example.org");
        assert_eq!((host, 443).addresses().unwrap(), name("example.org", 443));
    }

    #[test]
    fn a_string_without_host_or_port_is_refused() {
        for text in ["localhost", "localhost:", ":80", "localhost:http", "::1", "a:b:80", "a:65536"] {
            let error = text.addresses().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text}");
        }
    }
}

//! The load: every connection sends a request, waits for the whole of its echo, and sends the next one.
//!
//! One thread, epoll, edge-triggered. A run ends quiet: once time is up no request is sent, and the last echoes are
//! awaited; so the server is asleep when its clocks are read, before and after.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    fd::OwnedFd,
    io::retry_on_intr,
};

/// Connections that may wait to be accepted: one too many would be tried again after a second only.
const PACE: usize = 64;

/// A server that says nothing for so long has no more descriptors, most often: the connections it has not accepted wait on.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection and how far its request is.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    sent: usize,
    received: usize,
    since: Instant,
}

/// All connections to one server.
#[derive(Debug)]
pub(crate) struct Load {
    poll: OwnedFd,
    connections: Vec<Connection>,
    request: Vec<u8>,
    echo: Vec<u8>,
}

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After so many requests, in all.
    Requests(usize),
    /// After this time.
    Elapsed(Duration),
}

impl Load {
    /// Connects.
    ///
    /// # Errors
    ///
    /// What the system says: of too many descriptors, above all.
    pub(crate) fn connect(address: SocketAddr, connections: usize, size: usize) -> io::Result<Self> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let connect = |index: usize| {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            if index % PACE == PACE - 1 {
                // Connections are accepted in their order: once this one has its echo, none before it is in the queue.
                stream.write_all(b"x")?;
                stream.read_exact(&mut [0])?;
            }
            stream.set_nonblocking(true)?;
            epoll::add(
                &poll,
                &stream,
                EventData::new_u64(index as u64),
                EventFlags::IN | EventFlags::OUT | EventFlags::ET,
            )?;
            Ok(Connection { stream, sent: 0, received: size, since: Instant::now() })
        };
        let connections = (0..connections).map(connect).collect::<io::Result<_>>()?;
        Ok(Self { poll, connections, request: vec![b'x'; size], echo: vec![0; size] })
    }

    /// Sends requests on all connections; returns how long each took, in nanoseconds, and how long all did.
    ///
    /// # Errors
    ///
    /// What the system says; `UnexpectedEof` if the server closes a connection; `TimedOut` if it has said nothing for ten
    /// seconds.
    pub(crate) fn run(&mut self, until: Until) -> io::Result<(Vec<u64>, Duration)> {
        let start = Instant::now();
        let mut latencies = Vec::new();
        let mut under_way = 0;
        let mut begun = 0;
        let more = |begun: usize| match until {
            Until::Requests(requests) => begun < requests,
            Until::Elapsed(time) => start.elapsed() < time,
        };
        for index in 0..self.connections.len() {
            if more(begun) {
                self.begin(index)?;
                begun += 1;
                under_way += 1;
            }
        }
        let patience = Timespec::try_from(PATIENCE).expect("it is short");
        let mut events: Vec<epoll::Event> = Vec::with_capacity(1_024);
        while under_way > 0 {
            events.clear();
            retry_on_intr(|| epoll::wait(&self.poll, spare_capacity(&mut events), Some(&patience)))?;
            if events.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("{under_way} requests have no answer")));
            }
            for event in &events {
                let index = usize::try_from(event.data.u64()).expect("it is an index");
                if let Some(latency) = self.advance(index)? {
                    latencies.push(latency);
                    if more(begun) {
                        self.begin(index)?;
                        begun += 1;
                    } else {
                        under_way -= 1;
                    }
                }
            }
        }
        Ok((latencies, start.elapsed()))
    }

    fn begin(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.sent = 0;
        connection.received = 0;
        connection.since = Instant::now();
        self.send(index)
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        while connection.sent < self.request.len() {
            match connection.stream.write(&self.request[connection.sent..]) {
                Ok(length) => connection.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes on with a connection that is ready; returns the time of a request that is complete now.
    fn advance(&mut self, index: usize) -> io::Result<Option<u64>> {
        self.send(index)?;
        let connection = &mut self.connections[index];
        let size = self.echo.len();
        if connection.received == size {
            return Ok(None);
        }
        while connection.received < size {
            match connection.stream.read(&mut self.echo[connection.received..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => connection.received += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(u64::try_from(connection.since.elapsed().as_nanos()).unwrap_or(u64::MAX)))
    }
}

//! The floor: epoll by hand, level-triggered, one thread, no task at all.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    io::retry_on_intr,
};

use super::servers::ANY;

/// A connection with what it has read and not yet written.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer is still to be written.
    rest: std::ops::Range<usize>,
}

impl Connection {
    /// Answers once; `None` if the other side has gone, else what to wait for.
    fn serve(&mut self) -> io::Result<Option<EventFlags>> {
        if self.rest.is_empty() {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(length) => self.rest = 0..length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(EventFlags::IN)),
                Err(error) => return Err(error),
            }
        }
        while !self.rest.is_empty() {
            match self.stream.write(&self.buffer[self.rest.clone()]) {
                Ok(length) => self.rest.start += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(EventFlags::OUT)),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(EventFlags::IN))
    }
}

/// Serves for ever.
pub(super) fn serve(size: usize, announce: fn(SocketAddr)) -> io::Result<()> {
    let listener = TcpListener::bind(ANY)?;
    listener.set_nonblocking(true)?;
    announce(listener.local_addr()?);
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN)?;
    let mut connections = HashMap::<u64, (Connection, EventFlags)>::new();
    let mut events = Vec::with_capacity(1_024);
    loop {
        events.clear();
        retry_on_intr(|| epoll::wait(&poll, spare_capacity(&mut events), None))?;
        for event in &events {
            let event: &epoll::Event = event;
            let key = event.data.u64();
            if key == u64::MAX {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let key = u64::try_from(stream.as_raw_fd()).expect("a descriptor is not negative");
                    epoll::add(&poll, &stream, EventData::new_u64(key), EventFlags::IN)?;
                    let connection = Connection { stream, buffer: vec![0; size], rest: 0..0 };
                    connections.insert(key, (connection, EventFlags::IN));
                }
                continue;
            }
            let Some((connection, waits_for)) = connections.get_mut(&key) else {
                continue;
            };
            match connection.serve() {
                Ok(Some(next)) if next == *waits_for => {}
                Ok(Some(next)) => {
                    epoll::modify(&poll, &connection.stream, EventData::new_u64(key), next)?;
                    *waits_for = next;
                }
                // To close it takes it out of the set as well.
                Ok(None) | Err(_) => drop(connections.remove(&key)),
            }
        }
    }
}

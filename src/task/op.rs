//! The operations that a task can wait in, by name: for who looks at the tree.

use std::fmt;

macro_rules! operations {
    ($($name:ident: $text:literal,)*) => {
        /// An operation. One byte: every task has room for one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Op {
            $($name,)*
        }

        impl fmt::Display for Op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $text,)*
                })
            }
        }
    };
}

operations! {
    CapacityLimiterAcquire: "CapacityLimiter::acquire",
    ChannelNext: "channel::next",
    ChannelRecv: "channel::recv",
    ChannelSend: "channel::send",
    ChannelSendOrReturn: "channel::send_or_return",
    ChannelTryNext: "channel::try_next",
    ConditionWait: "Condition::wait",
    ConditionWaitWhile: "Condition::wait_while",
    EventWait: "Event::wait",
    Handle: "Handle",
    LockAcquire: "Lock::acquire",
    MemoryStreamRead: "MemoryStream::read",
    MemoryStreamWrite: "MemoryStream::write",
    MemoryStreamWriteAll: "MemoryStream::write_all",
    MutexLock: "Mutex::lock",
    ParkingLotPark: "ParkingLot::park",
    SemaphoreAcquire: "Semaphore::acquire",
    Sleep: "sleep",
    SleepForever: "sleep_forever",
    TcpListenerAccept: "TcpListener::accept",
    TcpListenerBind: "TcpListener::bind",
    TcpStreamConnect: "TcpStream::connect",
    TcpStreamRead: "TcpStream::read",
    TcpStreamShutdown: "TcpStream::shutdown",
    TcpStreamWrite: "TcpStream::write",
    TcpStreamWriteAll: "TcpStream::write_all",
    WaitAllTasksBlocked: "wait_all_tasks_blocked",
    WaitReadable: "wait_readable",
    WaitWritable: "wait_writable",
}

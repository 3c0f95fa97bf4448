//! The operations that a task can wait in, by name: for who looks at the tree.

use crate::sched::node::FLAGS;
use std::fmt;

macro_rules! operations {
    ($($name:ident: $text:literal,)*) => {
        /// An operation. Fits a byte beside the flags of a task.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Op {
            $($name,)*
        }

        impl Op {
            const ALL: &[Self] = &[$(Self::$name,)*];
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

const _: () =
    assert!(Op::ALL.len() < 1 << 7, "there is a number for each, and 0; the highest bit is a free node's flag");

impl Op {
    /// These flags with the operation in their high byte.
    #[inline(always)]
    pub(crate) fn among(self, flags: u16) -> u16 {
        flags & FLAGS | (self as u16 + 1) << FLAGS.count_ones()
    }

    /// The one in the high byte, if there is one.
    pub(crate) fn of(flags: u16) -> Option<Self> {
        let number = flags >> FLAGS.count_ones();
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
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

//! Building blocks for one's own synchronisation, futures and input and output.

mod cancelled;
#[cfg(unix)]
mod ready;

pub use crate::sync::parking_lot::{Park, ParkingLot, ParkingLotStatistics};
pub use cancelled::poll_cancelled;
#[cfg(unix)]
pub use ready::{WaitReadable, WaitWritable, wait_readable, wait_writable};

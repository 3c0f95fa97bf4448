//! Building blocks for one's own synchronisation.

pub use crate::sync::parking_lot::{Park, ParkingLot, ParkingLotStatistics};

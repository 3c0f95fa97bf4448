//! Errors.
mod cancelled;
pub use cancelled::Cancelled;

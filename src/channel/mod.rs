//! Channels.
/// Makes a channel.
pub fn channel() {}
/// Makes an unbounded channel.
pub fn unbounded() {}

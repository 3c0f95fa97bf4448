//! `poll_turn` for a host that cannot be asked to look.

use std::task::{Context, Poll};

use crate::Handle;

/// Answers [`Handle::poll_turn`] for any host: by a [`Probe`](crate::Probe) that is made at the first question. Where
/// none can be made, and on Windows, by returning to the host twice: most look for events between two polls.
#[derive(Debug, Default)]
pub struct Turns {
    #[cfg(unix)]
    probe: std::sync::OnceLock<crate::Probe>,
}

impl Turns {
    /// As [`Handle::poll_turn`], for this handle, which must be the same each time.
    pub fn poll(&self, handle: &dyn Handle, cx: &mut Context<'_>, round: u32) -> Poll<()> {
        #[cfg(unix)]
        if let Some(probe) = self.probe(handle) {
            return probe.poll(cx, round);
        }
        let _ = handle;
        if round >= 2 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    #[cfg(unix)]
    fn probe(&self, handle: &dyn Handle) -> Option<&crate::Probe> {
        if self.probe.get().is_none() {
            // Not within the cell: the registration is the host's code.
            let new = crate::Probe::new(handle).ok()?;
            let second = self.probe.set(new);
            drop(second);
        }
        self.probe.get()
    }
}

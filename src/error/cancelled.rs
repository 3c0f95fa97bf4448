/// Stub.
#[derive(Debug, Clone)]
pub struct Cancelled;

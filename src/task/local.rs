//! Task locals: values bound for the extent of a future, inherited by the children spawned in it.

use std::any::Any;
use std::sync::Arc;

/// One binding and those around it.
pub(crate) struct Locals {
    pub(crate) key: usize,
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    pub(crate) outer: Option<Arc<Locals>>,
}

//! Where a worker finds its edge: looked up for every request, so that a reload can put another one there. When and with
//! what it is replaced is `reload.rs`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use super::Edge;

/// One worker's place for its edge. A request keeps the edge that it began with to its end.
pub(crate) struct EdgeSlot {
    edge: ArcSwap<Edge>,
    /// Of all edges that were ever here: what clients asked for has to be done, whatever was configured since.
    commands: TaskTracker,
}

impl EdgeSlot {
    pub(crate) fn new(edge: Edge, commands: TaskTracker) -> Self {
        Self {
            edge: ArcSwap::from_pointee(edge),
            commands,
        }
    }

    /// The edge for the next request.
    pub(crate) fn load(&self) -> Arc<Edge> {
        self.edge.load_full()
    }

    /// The edge before goes, with its connections to upstreams, when its last request has ended.
    pub(crate) fn replace(&self, edge: Edge) {
        self.edge.store(Arc::new(edge));
    }

    /// What still has to be done when the last connection has gone.
    pub(crate) fn commands(&self) -> &TaskTracker {
        &self.commands
    }
}

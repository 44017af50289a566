//! A store that is asked, wherever it is.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::cli::exit::Failure;
use crate::cli::store::remote::Remote;
use crate::event::{Event, QueryParams, QueryResult};
use crate::store::{Backend, StoreHandle};

/// Answers queries, as [`Backend`] does.
pub(super) trait Ask {
    /// Shows the answer event by event, until it ends or the visitor has enough; says whether more follow.
    fn visit(&self, params: &QueryParams, visit: &mut Visit<'_>) -> Result<bool, Failure>;

    /// The answer at once.
    fn query(&self, params: &QueryParams) -> Result<QueryResult, Failure> {
        let mut result = QueryResult::default();
        result.more_follows = self.visit(params, &mut |event| {
            result.events.push(Arc::clone(event));
            ControlFlow::Continue(())
        })?;
        Ok(result)
    }
}

pub(super) type Visit<'a> = dyn FnMut(&Arc<Event>) -> ControlFlow<()> + 'a;

impl<B: Backend> Ask for B {
    fn visit(&self, params: &QueryParams, visit: &mut Visit<'_>) -> Result<bool, Failure> {
        Ok(Backend::visit(self, params, visit)?)
    }
}

/// A store that is open, or a server that has one.
pub(super) enum Opened {
    Here(StoreHandle),
    There(Remote),
}

impl Opened {
    /// The servers whose events are there.
    pub(super) fn servers(&self) -> Result<BTreeSet<i64>, Failure> {
        match self {
            Self::Here(store) => {
                let servers = store.stats()?.servers;
                Ok(servers.iter().map(|server| server.server).collect())
            }
            Self::There(remote) => remote.servers(),
        }
    }
}

impl Ask for Opened {
    fn visit(&self, params: &QueryParams, visit: &mut Visit<'_>) -> Result<bool, Failure> {
        match self {
            Self::Here(store) => Ask::visit(store, params, visit),
            Self::There(remote) => remote.visit(params, visit),
        }
    }
}

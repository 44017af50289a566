use std::sync::Arc;

use parking_lot::Mutex;

use super::StoreHistory;
use crate::relay::{BusRecorder, BusRecorderOptions, BusRecorderStats};
use crate::rpc::{RpcError, RpcOptions, RpcService};
use crate::store::{Backend, Engine, EngineHandle, EngineOptions, StoreError};

/// Everything that an application needs to remember what it publishes: an engine over a store, a recorder, and the history for its
/// clients.
///
/// Three lines in an application. Dropped, or [closed](Self::close), it writes down what was published and flushes; stop the
/// service first, so that its last messages are there.
///
/// ```
/// use std::sync::Arc;
/// use acqbus::relay::BusMemory;
/// use acqbus::rpc::{ClientOptions, Event, EventKind, HistoryStart, Notice, RemoteClient, RpcOptions, RpcService, Topic};
/// use acqbus::store::{Callbacks, MemoryBackend};
///
/// let memory = BusMemory::open(Arc::new(MemoryBackend::new(Callbacks::default())))?;
/// let service = RpcService::new(memory.options(RpcOptions::default().any_port()));
/// memory.record(&service)?;
/// service.start()?;
///
/// // Nobody listens yet.
/// service.send_event(&Event::now(EventKind::TunnelEnter))?;
///
/// let options = ClientOptions::default().ports(service.subscriber_port(), service.command_port());
/// let subscription = RemoteClient::connect(options)?.subscribe_from(&[Topic::EVENT], HistoryStart::Beginning)?;
/// let event = subscription.iter().find_map(|notice| match notice {
///     Notice::Message(message) => message.event(),
///     _ => None,
/// });
/// assert_eq!(event.expect("it is remembered").kind, EventKind::TunnelEnter);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BusMemory {
    recorder: Mutex<Option<BusRecorder>>,
    history: Arc<StoreHistory>,
    engine: Engine,
}

impl BusMemory {
    /// Starts an engine over a store, with the server number 1 and no modules.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn open(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        Self::with_engine(backend, EngineOptions::default())
    }

    /// The same with options of the engine: another server, modules.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn with_engine(
        backend: Arc<dyn Backend>,
        options: EngineOptions,
    ) -> Result<Self, StoreError> {
        let history = StoreHistory::new(Arc::clone(&backend));
        Ok(Self {
            recorder: Mutex::new(None),
            history,
            engine: Engine::start(backend, options)?,
        })
    }

    /// The options of a service that answers requests for history from here.
    #[must_use]
    pub fn options(&self, options: RpcOptions) -> RpcOptions {
        let history: Arc<StoreHistory> = Arc::clone(&self.history);
        options.history(history)
    }

    /// Records a service from now on, in place of the one before; before its start is best, then nothing is missed.
    ///
    /// # Errors
    /// As [`BusRecorder::attach`].
    pub fn record(&self, service: &RpcService) -> Result<(), RpcError> {
        self.record_with(service, BusRecorderOptions::default())
    }

    /// The same with options of the recorder; their history is this one.
    ///
    /// # Errors
    /// As [`BusRecorder::attach`].
    pub fn record_with(
        &self,
        service: &RpcService,
        options: BusRecorderOptions,
    ) -> Result<(), RpcError> {
        let options = options.history(Arc::clone(&self.history));
        let mut recorder = self.recorder.lock();
        // The one before writes what it has; a service that was started anew is another one.
        *recorder = None;
        *recorder = Some(BusRecorder::attach(service, self.engine.handle(), options)?);
        Ok(())
    }

    /// What the recorder did so far; `None` before [`record`](Self::record).
    #[must_use]
    pub fn stats(&self) -> Option<BusRecorderStats> {
        self.recorder.lock().as_ref().map(BusRecorder::stats)
    }

    /// The history.
    #[must_use]
    pub fn history(&self) -> &Arc<StoreHistory> {
        &self.history
    }

    /// The engine, to register and to query with.
    #[must_use]
    pub fn engine(&self) -> EngineHandle {
        self.engine.handle()
    }

    /// Ends the recording behind what was published, and flushes; a second call does nothing. The store stays open.
    ///
    /// # Errors
    /// As [`Engine::close`].
    pub fn close(&self) -> Result<(), StoreError> {
        if let Some(recorder) = &*self.recorder.lock() {
            recorder.stop();
        }
        self.engine.close()
    }
}

impl Drop for BusMemory {
    fn drop(&mut self) {
        if let Some(recorder) = &*self.recorder.lock() {
            recorder.stop();
        }
    }
}

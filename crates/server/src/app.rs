//! The state that every handler and middleware shares: the models, the limits, the counters and the phase.
//!
//! It computes nothing: `jobs` runs the models, and `routes` decides what they run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use tokio::time::MissedTickBehavior;

use crate::free_memory::return_memory;
use crate::keys::Keys;
use crate::lifecycle::{Lifecycle, Phase};
use crate::memory::HostMemory;
use crate::models::Models;
use crate::observe::history::{History, STEP};
use crate::observe::{Counters, OutcomeRates};
use crate::offload::Offload;
use crate::options::Options;
use crate::tokenizer_pool::TokenizerPool;

/// The state that all routes share.
pub struct App {
    /// The models.
    pub models: Models,
    /// The limits on one request.
    pub options: Options,
    /// The counters behind `/metrics` and the dashboard.
    pub observe: Arc<Counters>,
    /// The API keys that open the server.
    pub keys: Arc<Keys>,
    /// The phase: loading, ready, draining, closing or lost.
    pub life: Arc<Lifecycle>,
    /// The memory that requests may take.
    pub(crate) memory: Arc<HostMemory>,
    pub(crate) offload: Offload,
    pub(crate) log_rates: OutcomeRates,
    /// The last hour, for the dashboard.
    pub(crate) history: History,
    /// The OpenAPI document of these models, once it was asked for.
    pub(crate) openapi_json: OnceLock<Bytes>,
    pub(crate) tokenizer_pool: TokenizerPool,
    pub(crate) started_unix_s: u64,
    answers: AtomicU64,
}

impl App {
    /// Returns an application that needs no key and is ready at once.
    pub fn new(models: Models, options: Options) -> Arc<App> {
        let life = Arc::new(Lifecycle::default());
        life.enter(Phase::Ready);
        App::with_guards(models, options, Arc::default(), life, Arc::default())
    }

    /// Returns an application that asks for `keys`, whose phase is that of `life`, and that counts in `observe`.
    pub fn with_guards(
        models: Models,
        options: Options,
        keys: Arc<Keys>,
        life: Arc<Lifecycle>,
        observe: Arc<Counters>,
    ) -> Arc<App> {
        for served in models.iter() {
            observe.watch(&served.name, &served.engine, life.clone());
        }
        let tokenizer_pool = TokenizerPool::with_bounds_of(&models.first().engine);
        let memory = HostMemory::new(options.host_memory_budget_bytes);
        let log_rates = OutcomeRates::new(options.log_rate);
        Arc::new(App {
            memory,
            offload: Offload::default(),
            log_rates,
            history: History::default(),
            openapi_json: OnceLock::new(),
            models,
            options,
            observe,
            keys,
            life,
            tokenizer_pool,
            started_unix_s: unix_s(),
            answers: AtomicU64::new(0),
        })
    }

    /// Returns free memory to the system after requests and connections have ended; never ends. It concerns the whole
    /// process, so the program that serves the application spawns it.
    pub async fn return_free_memory(self: Arc<App>) {
        return_memory(&self.memory, &self.observe.connections).await;
    }

    /// Keeps the last hour for the dashboard; never ends. The program that serves the application spawns it.
    pub async fn keep_history(self: Arc<App>) {
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.history.record(&self.models, &self.observe, &self.memory);
        }
    }

    /// Returns an id for an answer: unique in this process, and by its start time nearly so among others.
    pub(crate) fn answer_id(&self, prefix: &str) -> String {
        let count = self.answers.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}-{:x}-{count:x}", self.started_unix_s)
    }
}

/// Seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

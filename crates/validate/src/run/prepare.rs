//! Prepares what a run needs before its first request: the files that the plan names, and the prompts.
//!
//! Every fault of these files is an error here, before any load.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Event, Progress, RunOptions};
use crate::error::Error;
use crate::plan::{CellSpec, Lengths, Load, Plan};
use crate::results::PromptSummary;
use crate::system::{TargetInfo, TokenCounter};
use crate::workload::{Corpus, Mixture, PromptPool, Trace, Workload};

/// The prompts of a run, and the traces that it replays.
pub(crate) struct PromptPools {
    tokens_max: Option<usize>,
    by_tokens: BTreeMap<usize, PromptPool>,
    by_name: BTreeMap<CellName, DrawnPrompts>,
}

/// The names of a scenario and of its class.
type CellName = (Option<String>, Option<String>);

fn cell_name(spec: &CellSpec) -> CellName {
    (spec.scenario.clone(), spec.class.clone())
}

/// The prompts of a cell whose lengths are not fixed.
struct DrawnPrompts {
    /// The cell's name in reports.
    label: String,
    source: LengthSource,
    /// `None` if the target does not accept the longest text.
    pool: Option<PromptPool>,
}

enum LengthSource {
    Mixture(Mixture),
    Trace(Arc<Trace>),
}

impl LengthSource {
    /// Reads the lengths of a cell; `None` if its length is fixed.
    fn for_cell(
        spec: &CellSpec,
        folder: &Path,
        tokens: &dyn TokenCounter,
    ) -> Result<Option<LengthSource>, Error> {
        match (&spec.lengths, &spec.load) {
            (Lengths::Mix(parts), _) => Mixture::new(parts, folder, tokens)
                .map(|mixture| Some(LengthSource::Mixture(mixture))),
            (Lengths::FromTrace, Load::Replay { file, .. }) => {
                let trace = Trace::load(&folder.join(file))?;
                Ok(Some(LengthSource::Trace(Arc::new(trace))))
            }
            _ => Ok(None),
        }
    }

    fn longest(&self) -> usize {
        match self {
            LengthSource::Mixture(mixture) => mixture.longest(),
            LengthSource::Trace(trace) => {
                trace.lines().iter().map(|line| line.tokens).max().unwrap_or(0)
            }
        }
    }
}

impl PromptPools {
    /// Reads the plan's files and cuts the prompts of every length that the target accepts.
    pub(crate) fn prepare(
        plan: &Plan,
        target: &TargetInfo,
        tokens: &dyn TokenCounter,
        options: &RunOptions,
        progress: &dyn Progress,
    ) -> Result<PromptPools, Error> {
        let mut pools = PromptPools {
            tokens_max: target.max_sequence_tokens,
            by_tokens: BTreeMap::new(),
            by_name: BTreeMap::new(),
        };
        let cells = plan.cells();
        for cell in &cells {
            if let Some(source) = LengthSource::for_cell(cell, &plan.folder, tokens)? {
                let prompts = DrawnPrompts { label: cell.label(), source, pool: None };
                pools.by_name.insert(cell_name(cell), prompts);
            }
        }
        let mut lengths: Vec<usize> = cells.iter().filter_map(CellSpec::tokens).collect();
        lengths.retain(|&tokens| pools.too_long(tokens).is_none());
        lengths.sort_unstable();
        lengths.dedup();
        let drawn = pools.by_name.values().map(|scenario| scenario.source.longest());
        let drawn: Vec<usize> =
            drawn.filter(|&longest| pools.too_long(longest).is_none()).collect();
        let Some(longest) = lengths.iter().copied().chain(drawn).max() else { return Ok(pools) };
        progress.event(Event::Preparing { tokens: &lengths, scenarios: pools.by_name.len() });

        let clients = plan.most_clients();
        // Beside the measured requests a cell sends its warm-up, and one request per client after them.
        let extra = clients * (plan.cell.warmup_requests_per_client + 1);
        let needed = plan.cell.requests_wanted(clients) + extra;
        let most = plan.cell.requests_max + extra;
        let workload = Workload::new(&options.corpus, tokens, longest)?;
        pools.by_tokens = workload.pools(&lengths, plan.seed, needed, most)?;
        for scenario in pools.by_name.values_mut() {
            if target.max_sequence_tokens.is_some_and(|most| scenario.source.longest() > most) {
                continue;
            }
            scenario.pool = Some(match &scenario.source {
                LengthSource::Mixture(mixture) => {
                    workload.mixture_pool(mixture, plan.seed, needed, most)?
                }
                LengthSource::Trace(trace) => workload.trace_pool(trace, plan.seed)?,
            });
        }
        Ok(pools)
    }

    /// Summarises the prompts for the report.
    pub(crate) fn summary(&self, corpus: &str) -> PromptSummary {
        let of_scenario =
            |drawn: &DrawnPrompts| Some((drawn.label.clone(), drawn.pool.as_ref()?.len()));
        PromptSummary {
            corpus: corpus.to_owned(),
            distinct_by_tokens: self
                .by_tokens
                .iter()
                .map(|(&tokens, pool)| (tokens, pool.len()))
                .collect(),
            prepared_by_scenario: self.by_name.values().filter_map(of_scenario).collect(),
        }
    }

    /// Returns a digest of the corpus and of every prompt's position in it: equal for runs that send the
    /// same texts.
    pub(crate) fn digest(&self, corpus: &Corpus) -> String {
        let mut digest = Fnv::new();
        digest.add(corpus.text().as_bytes());
        let of_scenarios = self.by_name.values().filter_map(|scenario| scenario.pool.as_ref());
        for prompt in self.by_tokens.values().chain(of_scenarios).flat_map(PromptPool::prompts) {
            digest.add(&prompt.range().start.to_le_bytes());
            digest.add(&prompt.range().end.to_le_bytes());
            digest.add(&prompt.tokens().to_le_bytes());
        }
        for scenario in self.by_name.values() {
            if let LengthSource::Trace(trace) = &scenario.source {
                trace.lines().iter().for_each(|line| digest.add(&line.seconds.to_le_bytes()));
            }
        }
        format!("{:016x}", digest.0)
    }

    /// Returns the prompts of a cell, and the trace that it replays; the error is the reason why the cell
    /// cannot be run.
    pub(crate) fn for_cell(
        &self,
        spec: &CellSpec,
    ) -> Result<(&PromptPool, Option<Arc<Trace>>), String> {
        let missing = || "no prompts were prepared for it".to_owned();
        if let Some(tokens) = spec.tokens() {
            return match self.too_long(tokens) {
                Some(reason) => Err(reason),
                None => Ok((self.by_tokens.get(&tokens).ok_or_else(missing)?, None)),
            };
        }
        let scenario = self.by_name.get(&cell_name(spec)).ok_or_else(missing)?;
        let longest = scenario.source.longest();
        let pool = scenario.pool.as_ref().ok_or_else(|| match self.too_long(longest) {
            Some(reason) => format!("{reason}, and this cell sends up to {longest}"),
            None => missing(),
        })?;
        let trace = match &scenario.source {
            LengthSource::Trace(trace) => Some(Arc::clone(trace)),
            LengthSource::Mixture(_) => None,
        };
        Ok((pool, trace))
    }

    fn too_long(&self, tokens: usize) -> Option<String> {
        let most = self.tokens_max.filter(|&most| tokens > most)?;
        Some(format!("the target takes sequences of at most {most} tokens"))
    }
}

/// The hash of Fowler, Noll and Vo (FNV-1a, 64 bits), which is equal on every machine and in every version.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

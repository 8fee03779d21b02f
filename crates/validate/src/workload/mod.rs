//! Prompts of exact token lengths, cut from real prose.
//!
//! The corpus is tokenized once. A prompt is a window of it: it starts at a word and ends where the
//! requested number of tokens is reached. It is tokenized again as a check, because a word at the start
//! of a text may be split into other tokens than the same word inside a text. If the count differs, the
//! end moves until the count is exact; a start for which that fails is skipped. The corpus is a ring: a
//! window may continue over its end at its beginning.
//!
//! Windows are chosen by a seeded shuffle of the word starts: every prompt of a length is a different
//! window, and the same seed gives the same prompts on every machine. Lengths that differ between
//! requests are drawn from a `Mixture` or read from a [`Trace`]; each gets its own window.
//!
//! When a prompt is sent is not decided here but in [`crate::load`]; which pools a plan needs, in
//! [`run`](mod@crate::run).

mod corpus;
mod lengths;
mod trace;

use std::collections::{BTreeMap, HashMap};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

pub use corpus::Corpus;
pub(crate) use lengths::{Mixture, normal};
pub use trace::{Trace, TraceLine};

use crate::error::Error;
use crate::system::{Prompt, TokenCounter};

/// Tokens that the prompts of one pool hold together, roughly; more only if the plan's smallest number of
/// requests needs it. Beyond them windows are used again, which the report states.
const PREPARED_TOKENS: usize = 4 << 20;
/// Moves of a window's end before its start is skipped.
const END_MOVES_MAX: usize = 12;
/// Starts tried for one window of a mixture before its length is an error.
const STARTS_MAX: usize = 50;

/// A tokenized corpus from which prompts are cut.
pub struct Workload<'a> {
    counter: &'a dyn TokenCounter,
    /// The prose, repeated so often that the longest window fits behind every start.
    ring: Arc<str>,
    /// End of each token of one turn of the ring, as a byte offset.
    ends: Vec<usize>,
    /// Word starts of one turn: (index of the first token, byte offset).
    starts: Vec<(usize, usize)>,
    turn_bytes: usize,
    special_tokens: usize,
}

impl<'a> Workload<'a> {
    /// Tokenizes `corpus` for windows of up to `tokens_max` tokens.
    ///
    /// # Errors
    /// [`Error::PromptLength`] if the tokenizer finds no words.
    pub fn new(
        corpus: &Corpus,
        counter: &'a dyn TokenCounter,
        tokens_max: usize,
    ) -> Result<Self, Error> {
        let turn = corpus.text();
        let spans = counter.offsets(turn);
        let special_tokens = counter.count(turn).saturating_sub(spans.len());
        let starts = word_starts(turn, &spans);
        if starts.is_empty() {
            return Err(Error::PromptLength {
                tokens: tokens_max,
                reason: format!(
                    "the tokenizer finds no words in the corpus {}; give another --corpus or --tokenizer",
                    corpus.origin()
                ),
            });
        }
        let turns = 2 + tokens_max / spans.len();
        Ok(Workload {
            counter,
            ring: turn.repeat(turns).into(),
            ends: spans.iter().map(|&(_, end)| end).collect(),
            starts,
            turn_bytes: turn.len(),
            special_tokens,
        })
    }

    /// Prepares a pool of different prompts for each of `lengths` (tokens). A cell sends at least `needed`
    /// and at most `most` prompts.
    ///
    /// # Errors
    /// [`Error::PromptLength`] for the first length that no window of the corpus has.
    pub fn pools(
        &self,
        lengths: &[usize],
        seed: u64,
        needed: usize,
        most: usize,
    ) -> Result<BTreeMap<usize, PromptPool>, Error> {
        let pool = |&tokens: &usize| {
            let wanted = (PREPARED_TOKENS / tokens).clamp(needed.min(most), most);
            Ok((tokens, PromptPool { prompts: self.prompts(tokens, seed, wanted)?.into() }))
        };
        lengths.iter().map(pool).collect()
    }

    /// Prepares a pool of `needed` to `most` prompts whose lengths are drawn from `mixture`.
    pub(crate) fn mixture_pool(
        &self,
        mixture: &Mixture,
        seed: u64,
        needed: usize,
        most: usize,
    ) -> Result<PromptPool, Error> {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut lengths, mut tokens) = (Vec::new(), 0);
        while lengths.len() < most && (lengths.len() < needed || tokens < PREPARED_TOKENS) {
            let length = mixture.draw(&mut random);
            tokens += length;
            lengths.push(length);
        }
        Ok(PromptPool { prompts: self.prompts_of_lengths(&lengths, seed)?.into() })
    }

    /// Prepares one prompt per line of `trace`, in its order. Beyond [`PREPARED_TOKENS`], a line shares
    /// the prompt of an earlier line of the same length.
    pub(crate) fn trace_pool(&self, trace: &Trace, seed: u64) -> Result<PromptPool, Error> {
        // For each length, the indices of its prompts; lines take them in turn.
        let mut of_length: HashMap<usize, Vec<usize>> = HashMap::new();
        let (mut lengths, mut tokens) = (Vec::new(), 0);
        let mut index_of_line = Vec::with_capacity(trace.lines().len());
        let mut turns: HashMap<usize, usize> = HashMap::new();
        for line in trace.lines() {
            let places = of_length.entry(line.tokens).or_default();
            if places.is_empty() || tokens < PREPARED_TOKENS {
                places.push(lengths.len());
                lengths.push(line.tokens);
                tokens += line.tokens;
            }
            let turn = turns.entry(line.tokens).or_default();
            index_of_line.push(places[*turn % places.len()]);
            *turn += 1;
        }
        let cut = self.prompts_of_lengths(&lengths, seed)?;
        Ok(PromptPool { prompts: index_of_line.iter().map(|&index| cut[index].clone()).collect() })
    }

    /// Cuts one prompt per length, in order, from different windows as far as the corpus has them.
    fn prompts_of_lengths(&self, lengths: &[usize], seed: u64) -> Result<Vec<Prompt>, Error> {
        let mut order: Vec<usize> = (0..self.starts.len()).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
        // Further attempts of one length keep away from the first attempts of its neighbours.
        let start = |place: usize, attempt: usize| {
            order[(place + attempt * (order.len() / STARTS_MAX).max(1)) % order.len()]
        };
        let cut = |(place, &tokens): (usize, &usize)| {
            (tokens > self.special_tokens)
                .then(|| (0..STARTS_MAX).find_map(|n| self.cut_window(start(place, n), tokens)))
                .flatten()
                .ok_or_else(|| Error::PromptLength {
                    tokens,
                    reason: format!(
                        "no window of the corpus has that count ({} of them special tokens); give another --corpus or length",
                        self.special_tokens
                    ),
                })
        };
        let places: Vec<(usize, &usize)> = lengths.iter().enumerate().collect();
        map_on_all_cores(&places, |&place| cut(place)).into_iter().collect()
    }

    /// Cuts up to `wanted` different prompts of exactly `tokens` tokens; fewer only if the corpus has no
    /// more word starts.
    ///
    /// # Errors
    /// [`Error::PromptLength`] if `tokens` leaves no room beside the special tokens, or no window has
    /// that count.
    pub fn prompts(&self, tokens: usize, seed: u64, wanted: usize) -> Result<Vec<Prompt>, Error> {
        let fault = |reason: String| Error::PromptLength { tokens, reason };
        if tokens <= self.special_tokens {
            let special = self.special_tokens;
            return Err(fault(format!(
                "the tokenizer adds {special} special tokens to every text; give a longer one"
            )));
        }
        let mut order: Vec<usize> = (0..self.starts.len()).collect();
        fastrand::Rng::with_seed(seed ^ (tokens as u64).rotate_left(32)).shuffle(&mut order);
        let mut prompts = Vec::with_capacity(wanted.min(order.len()));
        let mut rest = order.as_slice();
        while prompts.len() < wanted && !rest.is_empty() {
            let (chunk, later) = rest.split_at(rest.len().min(wanted - prompts.len()));
            rest = later;
            prompts.extend(self.cut_windows(chunk, tokens));
            if prompts.is_empty() && chunk.len() >= 1000.min(order.len()) {
                break;
            }
        }
        if prompts.is_empty() {
            return Err(fault(
                "no window of the corpus has that count; give another --corpus or length".into(),
            ));
        }
        Ok(prompts)
    }

    /// Cuts the windows at `starts` on all cores, in order, and drops those that cannot be made exact.
    fn cut_windows(&self, starts: &[usize], tokens: usize) -> Vec<Prompt> {
        let cut = map_on_all_cores(starts, |&start| self.cut_window(start, tokens));
        cut.into_iter().flatten().collect()
    }

    /// Cuts the window at word start number `start`, moving its end until the count is exact.
    fn cut_window(&self, start: usize, tokens: usize) -> Option<Prompt> {
        let (first, byte) = self.starts[start];
        let mut last = first + tokens - self.special_tokens - 1;
        let mut tried = Vec::new();
        while tried.len() < END_MOVES_MAX && !tried.contains(&last) {
            tried.push(last);
            let range = byte..self.token_end(last);
            let counted = self.counter.count(self.ring.get(range.clone())?);
            if counted == tokens {
                return Prompt::new(Arc::clone(&self.ring), range, tokens);
            }
            last = (last + tokens).checked_sub(counted).filter(|&moved| moved >= first)?;
        }
        None
    }

    /// Returns the end of token `index` as a byte offset, counted on through the turns of the ring.
    fn token_end(&self, index: usize) -> usize {
        let turn = index / self.ends.len();
        (turn * self.turn_bytes + self.ends[index % self.ends.len()]).min(self.ring.len())
    }
}

/// Maps every item on all cores; results are in the order of the items.
fn map_on_all_cores<I: Sync, T: Send>(items: &[I], made: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads).max(1);
    let made = &made;
    thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(made).collect::<Vec<T>>()))
            .collect();
        let joined = parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.collect()
    })
}

/// Returns the tokens that begin a word, as (index, byte offset): white space or nothing precedes them.
fn word_starts(text: &str, spans: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let start_of = |(index, &(start, end)): (usize, &(usize, usize))| {
        let token = text.get(start..end)?;
        let byte = start + (token.len() - token.trim_start().len());
        let before = text[..byte].chars().next_back();
        let begins = byte < end && before.is_none_or(char::is_whitespace);
        begins.then_some((index, byte))
    };
    spans.iter().enumerate().filter_map(start_of).collect()
}

/// Prompts of one length, mixture or trace, shared by the cells that send them.
#[derive(Debug, Clone)]
pub struct PromptPool {
    prompts: Arc<[Prompt]>,
}

impl PromptPool {
    /// Returns the number of prompts.
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Returns true if there are no prompts. A prepared pool is never empty.
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// Returns the prompts in the order in which they were prepared.
    pub(crate) fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// Returns an endless order of the prompts, shuffled by `seed`.
    pub(crate) fn shuffled_order(&self, seed: u64) -> PromptOrder {
        let mut order: Vec<u32> = (0..self.prompts.len() as u32).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
        PromptOrder { prompts: Arc::clone(&self.prompts), order, first: 0 }
    }

    /// Returns the prompts in the order of their file; request number `first` gets the first of them.
    pub(crate) fn file_order(&self, first: usize) -> PromptOrder {
        let order = (0..self.prompts.len() as u32).collect();
        PromptOrder { prompts: Arc::clone(&self.prompts), order, first: first as u64 }
    }
}

/// The order in which one cell sends the prompts of a pool.
#[derive(Debug)]
pub(crate) struct PromptOrder {
    prompts: Arc<[Prompt]>,
    order: Vec<u32>,
    /// Number of the request that gets the first prompt; requests before it get the last ones.
    first: u64,
}

impl PromptOrder {
    /// Returns the prompt of request number `ordinal`.
    pub(crate) fn prompt(&self, ordinal: u64) -> Prompt {
        let turn = self.order.len() as u64;
        let place = ((ordinal % turn + turn - self.first % turn) % turn) as usize;
        self.prompts[self.order[place] as usize].clone()
    }
}

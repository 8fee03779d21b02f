//! Long and short texts on one device: which waiting requests form a batch, and which pass it while it pauses. Pure functions,
//! as [`super::schedule`].
//!
//! A short request never waits for a long one in its own batch: none joins a batch in which it would be one that passes.
//! A long text takes seconds on a CPU and a hundred milliseconds on a GPU. A batch with one runs in slices, and between two of
//! them requests pass whose work is at most 1 / [`PASSING_ONE_IN`] of that text's and that fit into the device's short lane.
//! Shorter ones pass first. Those that pass together take about [`Turns::passing`], or are one. Afterwards the batch runs for a
//! multiple of their time ([`Passing::owed`]), so that it is delayed by a bounded factor. A request that may pass waits for a
//! slice and the turns of those before it. Batches whose longest text takes less than [`Turns::pausing`] let nobody pass.
//!
//! What one client has in a batch counts as one text for clients that have nothing in it: a client that floods holds up no
//! other for longer than a slice.
//!
//! Nothing starves: the first in the order of [`super::schedule`] is in the next batch, whatever its length, and a batch that
//! pauses keeps at least `owed / (1 + owed)` of the device, but for one slice per turn.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::cost::CostModel;
use super::schedule::{QueuedRequest, next_batch, next_batch_of};
use super::{Flow, Limits};

/// Requests pass a text that has this many times their work.
const PASSING_ONE_IN: u64 = 8;

/// Returns whether a request of so many nanoseconds may pass another one that pauses.
pub(crate) fn passes(nanoseconds: u64, long_nanoseconds: u64) -> bool {
    nanoseconds <= long_nanoseconds / PASSING_ONE_IN
}

/// How long the turns on a device are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turns {
    /// A batch pauses if its longest text takes this long, or all that one client has in it.
    pub pausing: Duration,
    /// How long a slice of it is meant to take.
    pub slice: Duration,
    /// About how long requests that pass together may take.
    pub passing: Duration,
    /// How long the batch runs for each second of theirs.
    pub owed: f64,
    /// The same if others are left that may pass: the lane is too small to keep up with them.
    pub owed_to_many: f64,
    /// The same while requests wait that may not pass: each second of theirs delays those too.
    pub owed_before_others: f64,
    /// How long a batch is meant to take while several flows are active, unless one request alone takes longer: what arrives
    /// of one flow waits for the batch of others that runs, and then for what others have in its own.
    pub batch: Duration,
}

impl Turns {
    /// Those of a host.
    pub const HOST: Turns = Turns {
        pausing: Duration::from_millis(20),
        slice: Duration::from_millis(5),
        passing: Duration::from_millis(50),
        owed: 1.0,
        owed_to_many: 1.0,
        owed_before_others: 6.0,
        batch: Duration::from_millis(30),
    };
    /// Those of a GPU.
    pub const GPU: Turns = Turns {
        pausing: Duration::from_millis(4),
        slice: Duration::from_millis(1),
        passing: Duration::from_millis(5),
        owed: 0.3,
        owed_to_many: 0.1,
        owed_before_others: 6.0,
        batch: Duration::from_millis(20),
    };
}

/// The requests of a batch, none of which could pass another.
#[derive(Debug, Clone, Copy)]
struct Peers {
    pausing_nanoseconds: u64,
    least: u64,
    most: u64,
}

impl Peers {
    fn new(turns: Turns) -> Peers {
        let pausing_nanoseconds = turns.pausing.as_nanos() as u64;
        Peers { pausing_nanoseconds, least: u64::MAX, most: 0 }
    }

    /// Returns the peers with one more request, if it is one.
    fn with(self, nanoseconds: u64) -> Option<Peers> {
        let (least, most) = (self.least.min(nanoseconds), self.most.max(nanoseconds));
        let are_peers = most < self.pausing_nanoseconds || !passes(least, most);
        are_peers.then_some(Peers { least, most, ..self })
    }
}

/// Returns the indices of the requests to run next, in order of arrival: the first in the order of [`super::schedule`], and in
/// that order those that fit and are not much shorter or longer. Empty only for an empty queue. With `several_flows` the batch
/// is cut to [`Turns::batch`].
pub fn next_peers(
    waiting: &[QueuedRequest],
    several_flows: bool,
    limits: Limits,
    costs: &CostModel,
    turns: Turns,
) -> Vec<usize> {
    peers(waiting, several_flows, limits, costs, turns).0
}

/// Returns the batch of [`next_peers`] if it is full, that is, if it leaves a peer behind. `None` if every peer that waits
/// would be in it, so that a later start could only add to it.
pub fn next_full_peers(
    waiting: &[QueuedRequest],
    several_flows: bool,
    limits: Limits,
    costs: &CostModel,
    turns: Turns,
) -> Option<Vec<usize>> {
    let (chosen, peers) = peers(waiting, several_flows, limits, costs, turns);
    let all = waiting.iter().map(|request| costs.nanoseconds(request.tokens));
    (chosen.len() < all.filter(|&work| peers.with(work).is_some()).count()).then_some(chosen)
}

fn peers(
    waiting: &[QueuedRequest],
    several_flows: bool,
    limits: Limits,
    costs: &CostModel,
    turns: Turns,
) -> (Vec<usize>, Peers) {
    let mut peers = Peers::new(turns);
    let most = if several_flows { turns.batch.as_nanos() as u64 } else { u64::MAX };
    let mut together = 0;
    let chosen = next_batch_of(waiting, limits, |request| {
        let work = costs.nanoseconds(request.tokens);
        let in_time = together == 0 || together + work <= most;
        let more = peers.with(work).filter(|_| in_time);
        if let Some(more) = more {
            (peers, together) = (more, together + work);
        }
        more.is_some()
    });
    (chosen, peers)
}

/// The requests that may pass one batch.
#[derive(Debug, Clone)]
pub struct Passing {
    limits: Limits,
    costs: CostModel,
    turns: Turns,
    /// The work of its longest text, in nanoseconds.
    longest: u64,
    /// The clients that have something in it.
    clients: HashSet<u64>,
    /// The work of the client that has most, in nanoseconds.
    largest_client: u64,
}

impl Passing {
    /// Returns who may pass a batch of requests of these flows and nanoseconds of work. `limits` are those of the short lane.
    pub fn new(
        limits: Limits,
        costs: CostModel,
        turns: Turns,
        batch: impl IntoIterator<Item = (Flow, u64)>,
    ) -> Passing {
        let (mut longest, mut of_clients) = (0, HashMap::new());
        for (flow, nanoseconds) in batch {
            longest = longest.max(nanoseconds);
            *of_clients.entry(flow.share).or_insert(0) += nanoseconds;
        }
        let largest_client = of_clients.values().copied().max().unwrap_or(0);
        let clients = of_clients.into_keys().collect();
        Passing { limits, costs, turns, longest, clients, largest_client }
    }

    /// Returns whether anyone could pass the batch, so that it is worth a pause.
    pub fn pauses(&self) -> bool {
        self.is_long(self.longest.max(self.largest_client))
    }

    fn is_long(&self, nanoseconds: u64) -> bool {
        u128::from(nanoseconds) >= self.turns.pausing.as_nanos()
    }

    /// Returns the indices of the requests to run now, in order of arrival; `None` if none may pass.
    pub fn choose(&self, waiting: &[QueuedRequest]) -> Option<Vec<usize>> {
        let work = |request: &QueuedRequest| self.costs.nanoseconds(request.tokens);
        // Those of about the same length in the order of their starts, and shorter ones before longer ones: one that takes a
        // whole turn would keep many waiting.
        let mut turns: Vec<usize> =
            (0..waiting.len()).filter(|&index| self.may_pass(&waiting[index])).collect();
        turns.sort_by_key(|&index| (work(&waiting[index]).ilog2(), waiting[index].start));
        let mut queued: Vec<(usize, QueuedRequest)> = turns
            .into_iter()
            .zip(0..)
            .map(|(index, start)| (index, QueuedRequest { start, ..waiting[index] }))
            .collect();
        queued.sort_by_key(|(index, _)| *index);
        let (passing, queued): (Vec<usize>, Vec<QueuedRequest>) = queued.into_iter().unzip();
        let together = self.turns.passing.as_nanos() as u64;
        let mut limits = self.limits;
        let mut chosen = next_batch(&queued, limits);
        while chosen.len() > 1
            && chosen.iter().map(|&index| work(&queued[index])).sum::<u64>() > together
        {
            limits.max_batch_sequences = chosen.len() - chosen.len().div_ceil(4);
            chosen = next_batch(&queued, limits);
        }
        (!chosen.is_empty()).then(|| chosen.into_iter().map(|index| passing[index]).collect())
    }

    /// Returns how long the batch runs for each second of the requests that pass, so many of those that wait.
    pub fn owed(&self, waiting: &[QueuedRequest], chosen: usize) -> f64 {
        let Turns { owed, owed_to_many, owed_before_others, .. } = self.turns;
        let passing = waiting.iter().filter(|request| self.may_pass(request)).count();
        let held_up = waiting.iter().any(|request| !self.is_short(request));
        match (held_up, passing > chosen) {
            (true, _) => owed_before_others,
            (false, true) => owed_to_many,
            (false, false) => owed,
        }
    }

    fn may_pass(&self, request: &QueuedRequest) -> bool {
        request.tokens <= self.limits.max_batch_tokens && self.is_short(request)
    }

    fn is_short(&self, request: &QueuedRequest) -> bool {
        let work = self.costs.nanoseconds(request.tokens);
        let passes = |long: u64| self.is_long(long) && passes(work, long);
        passes(self.longest)
            || (passes(self.largest_client) && !self.clients.contains(&request.flow.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: Limits = Limits { max_batch_tokens: 2048, max_batch_sequences: 512, max_masks: 64 };
    /// A microsecond per token.
    const COSTS: CostModel = CostModel {
        batch_seconds: 0.0,
        token_seconds: 1e-6,
        square_seconds: 0.0,
        sequence_seconds: 0.0,
    };

    fn chosen(longest: usize, waiting: &[usize]) -> Option<Vec<usize>> {
        let requests: Vec<QueuedRequest> = waiting
            .iter()
            .zip(0..)
            .map(|(&tokens, start)| QueuedRequest { tokens, start, ..Default::default() })
            .collect();
        let batch = [(Flow::default(), COSTS.nanoseconds(longest))];
        Passing::new(LANE, COSTS, Turns::GPU, batch).choose(&requests)
    }

    #[test]
    fn short_requests_pass_a_long_one_together() {
        assert_eq!(chosen(32_768, &[100, 200, 300]), Some(vec![0, 1, 2]));
        assert_eq!(chosen(32_768, &[5000, 200, 3000, 300]), Some(vec![1, 3]), "longer ones wait");
        assert_eq!(chosen(32_768, &[5000]), None);
        assert_eq!(chosen(32_768, &[2000, 100, 110]), Some(vec![1, 2]), "shorter ones first");
        assert_eq!(chosen(32_768, &[]), None);
    }

    #[test]
    fn a_batch_holds_no_request_that_could_pass_another() {
        let limits = Limits { max_batch_tokens: 65_536, ..LANE };
        let queue = |tokens: &[usize]| -> Vec<QueuedRequest> {
            let with_start = tokens.iter().zip(0..);
            with_start
                .map(|(&tokens, start)| QueuedRequest { tokens, start, ..Default::default() })
                .collect()
        };
        let batch =
            |tokens: &[usize]| next_peers(&queue(tokens), false, limits, &COSTS, Turns::GPU);
        let full =
            |tokens: &[usize]| next_full_peers(&queue(tokens), false, limits, &COSTS, Turns::GPU);
        assert_eq!(
            batch(&[32_768, 1024, 8192, 4096, 1024]),
            [0, 2],
            "those that pass wait for a pause"
        );
        assert_eq!(batch(&[1024, 32_768, 8191, 512, 4096]), [0, 2, 4], "nor does a long one join");
        assert_eq!(batch(&[3999, 1, 100]), [0, 1, 2], "it does not pause");
        assert_eq!(batch(&[1]), [0]);
        assert_eq!(
            full(&[1024, 32_768, 512]),
            None,
            "the long one would not be in it later either"
        );
        assert_eq!(full(&[32_768, 32_767, 20_000, 1024]), Some(vec![0, 1]));
        // With several flows 20 ms, or one request.
        let of_many =
            |tokens: &[usize]| next_peers(&queue(tokens), true, limits, &COSTS, Turns::GPU);
        assert_eq!(of_many(&[9000, 9000, 9000, 1500]), [0, 1, 3]);
        assert_eq!(of_many(&[32_768, 32_768]), [0]);
        assert_eq!(batch(&[32_768, 32_768]), [0, 1]);
    }

    #[test]
    fn nobody_passes_a_batch_of_equals_or_a_short_one() {
        assert_eq!(chosen(4096, &[513]), None, "more than an eighth");
        assert_eq!(chosen(4096, &[512]), Some(vec![0]));
        assert_eq!(chosen(3999, &[1]), None, "it takes less than 4 ms");
    }

    #[test]
    fn what_a_client_has_in_a_batch_counts_as_one_text_for_others() {
        let of = |share: u64, tokens: usize| QueuedRequest {
            tokens,
            flow: Flow { share, ..Flow::default() },
            ..QueuedRequest::default()
        };
        let passing = |batch: &[QueuedRequest]| {
            let batch = batch.iter().map(|one| (one.flow, COSTS.nanoseconds(one.tokens)));
            Passing::new(LANE, COSTS, Turns::GPU, batch.collect::<Vec<_>>())
        };
        let flood = passing(&[of(1, 100); 64]);
        assert!(flood.pauses());
        let waiting = [of(1, 100), of(2, 800), of(3, 801), of(1, 10)];
        assert_eq!(
            flood.choose(&waiting),
            Some(vec![1]),
            "an eighth, of a client that has nothing in it"
        );
        assert_eq!(flood.owed(&waiting, 1), Turns::GPU.owed_before_others);
        let mut shared = [of(1, 100); 64];
        shared[9] = of(2, 100);
        assert_eq!(passing(&shared).choose(&waiting), None, "the second has its turn in the batch");
        assert!(!passing(&[of(1, 100); 39]).pauses(), "3.9 ms");
        let many: Vec<_> = (0..64).map(|share| of(share, 100)).collect();
        assert!(!passing(&many).pauses(), "nobody has much in it");
    }

    #[test]
    fn those_that_pass_take_a_bounded_time() {
        // 5 ms of a lane that holds less.
        let tokens: usize = chosen(32_768, &[100; 300]).map_or(0, |all| 100 * all.len());
        assert!((1500..=2048).contains(&tokens), "{tokens}");
        let slow = CostModel { token_seconds: 1e-4, ..COSTS };
        let waiting = [QueuedRequest { tokens: 60, ..Default::default() }; 30];
        let batch = [(Flow::default(), slow.nanoseconds(32_768))];
        let passing = Passing::new(LANE, slow, Turns::GPU, batch);
        assert_eq!(passing.choose(&waiting).map(|all| all.len()), Some(1), "6 ms, but one may");
    }
}

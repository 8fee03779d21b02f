//! What arrives: patterns drawn from a seed, and recorded traces.
//!
//! A pattern's lengths are drawn until their device time is the load times the length of the trace; their times are
//! independent, as in a Poisson process with that number of arrivals. So the load is exact for every seed.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::device::SimulatedDevice;
use crate::error::Error;
use crate::format::labelled;
use crate::workload::{Trace, TraceLine, normal};

/// Longest text of the heavy-tailed pattern, in tokens.
const LONGEST: usize = 32_768;
/// Clients that send a request per second beside a flood.
const QUIET: usize = 4;
/// Tokens of their requests, and of the flood's.
const QUIET_TOKENS: usize = 256;
const FLOOD_TOKENS: usize = 1024;
/// What the flood is, as a factor on what the client sends in the calm.
const FLOOD: f64 = 10.0;

/// A request of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Seconds since the trace began.
    pub seconds: f64,
    /// Length in tokens.
    pub tokens: usize,
    /// Whose it is, from 0.
    pub client: usize,
}

/// A trace: requests in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    /// Its name.
    pub name: String,
    /// What arrives, in a sentence.
    pub description: String,
    /// In order of time; at least one.
    pub requests: Vec<Arrival>,
    /// Number of clients.
    pub clients: usize,
    /// The clients that send one request per second each, whose latency has figures of its own.
    pub quiet: Range<usize>,
    /// Length of the trace.
    pub seconds: f64,
}

labelled! {
    /// A way in which requests arrive.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Pattern {
        /// Independent arrivals of similar lengths.
        Steady = "steady",
        /// The same lengths, up to 256 at once.
        Bursty = "bursty",
        /// One client; most texts are short, a few are very long.
        HeavyTailed = "heavy-tailed",
        /// The same lengths of 32 clients.
        HeavyTailedClients = "heavy-tailed, 32 clients",
        /// Half of the time is one client's longest texts.
        Giant = "a giant among many",
        /// Clients of which none sends too much.
        Calm = "before a flood",
        /// The same, but one sends ten times as much.
        Flood = "adversarial: a flood",
    }
}

impl Pattern {
    /// All of them.
    pub const ALL: [Pattern; 7] = [
        Pattern::Steady,
        Pattern::Bursty,
        Pattern::HeavyTailed,
        Pattern::HeavyTailedClients,
        Pattern::Giant,
        Pattern::Calm,
        Pattern::Flood,
    ];

    fn description(self, device: &SimulatedDevice) -> String {
        let giant = device.limits.max_batch_tokens;
        match self {
            Pattern::Steady => "16 clients, log-normal lengths around 256 tokens up to 2048".into(),
            Pattern::Bursty => {
                "16 clients, each sends 1 to 256 texts at once; lengths as steady".into()
            }
            Pattern::HeavyTailed => format!(
                "one client, log-normal lengths around 200 tokens (sigma 1.6) up to {}",
                LONGEST.min(giant)
            ),
            Pattern::HeavyTailedClients => "the same lengths, of 32 clients".into(),
            Pattern::Giant => format!(
                "16 clients with texts around 128 tokens; half of the load is a client with texts of {giant}"
            ),
            Pattern::Calm => format!(
                "8 clients with texts around 256 tokens up to 8192, {QUIET} with one of {QUIET_TOKENS} per second each, and one \
                 with half of the load in texts of {FLOOD_TOKENS}"
            ),
            Pattern::Flood => {
                format!("as before the flood, but the last client sends {FLOOD} times as many")
            }
        }
    }
}

/// Draws from a log-normal distribution, clamped to `least..=most`.
fn log_normal(
    (median, sigma): (f64, f64),
    (least, most): (usize, usize),
) -> impl Fn(&mut fastrand::Rng) -> usize {
    move |random| {
        let tokens = (median.ln() + sigma * normal(random)).exp().round() as usize;
        tokens.clamp(least, most)
    }
}

/// Requests of a pattern at most.
const ARRIVALS_MAX: usize = 2_000_000;

/// Draws the parts of a pattern.
struct Draw<'a> {
    device: &'a SimulatedDevice,
    seed: u64,
    seconds: f64,
    requests: Vec<Arrival>,
}

impl Draw<'_> {
    /// Draws groups of requests that arrive together, until they are this load.
    fn groups(
        &mut self,
        load: f64,
        clients: Range<usize>,
        group: Range<usize>,
        length: impl Fn(&mut fastrand::Rng) -> usize,
    ) {
        // A part does not depend on how much was drawn for another.
        let mut random = fastrand::Rng::with_seed(self.seed ^ ((1 + clients.start as u64) << 32));
        let mut work = 0.0;
        while work < load * self.seconds && self.requests.len() <= ARRIVALS_MAX {
            let (seconds, client) = (random.f64() * self.seconds, random.usize(clients.clone()));
            for _ in 0..random.usize(group.clone()) {
                let tokens = length(&mut random);
                work += self.device.costs.of_sequence(tokens);
                self.requests.push(Arrival { seconds, tokens, client });
            }
        }
    }

    fn singles(
        &mut self,
        load: f64,
        clients: Range<usize>,
        length: impl Fn(&mut fastrand::Rng) -> usize,
    ) {
        self.groups(load, clients, 1..2, length);
    }

    /// Adds requests at equal distances.
    fn even(&mut self, count: usize, client: usize, first: f64, tokens: usize) {
        let step = self.seconds / count as f64;
        let one = |index: usize| (index as f64 + first) * step;
        let all = (0..count).map(|index| Arrival { seconds: one(index), tokens, client });
        self.requests.extend(all);
    }
}

impl Arrivals {
    /// Draws a pattern. `load` is the device time of the requests by themselves, as a share of the trace's length.
    ///
    /// # Errors
    /// [`Error::TooManyArrivals`] if they are more than two millions.
    pub fn draw(
        pattern: Pattern,
        device: &SimulatedDevice,
        load: f64,
        seconds: f64,
        seed: u64,
    ) -> Result<Arrivals, Error> {
        let mut draw = Draw { device, seed, seconds, requests: Vec::new() };
        let most = device.limits.max_batch_tokens;
        let steady = log_normal((256.0, 0.6), (16, 2048.min(most)));
        let (mut clients, mut quiet) = (16, 0..0);
        match pattern {
            Pattern::Steady => draw.singles(load, 0..16, steady),
            Pattern::Bursty => draw.groups(load, 0..16, 1..257, steady),
            Pattern::HeavyTailed | Pattern::HeavyTailedClients => {
                clients = if pattern == Pattern::HeavyTailed { 1 } else { 32 };
                let lengths = log_normal((200.0, 1.6), (16, LONGEST.min(most)));
                draw.singles(load, 0..clients, lengths);
            }
            Pattern::Giant => {
                clients = 17;
                draw.singles(load / 2.0, 0..16, log_normal((128.0, 0.5), (16, 512)));
                let giants = load / 2.0 * seconds / device.costs.of_sequence(most);
                draw.even((giants.round() as usize).max(1), 16, 0.5, most);
            }
            Pattern::Calm | Pattern::Flood => {
                (clients, quiet) = (9 + QUIET, 9..9 + QUIET);
                draw.singles(load / 2.0, 0..8, log_normal((256.0, 1.0), (16, 8192.min(most))));
                let factor = if pattern == Pattern::Flood { FLOOD } else { 1.0 };
                draw.singles(load / 2.0 * factor, 8..9, |_| FLOOD_TOKENS);
                for client in quiet.clone() {
                    // Not at the same time, nor at a multiple of anything else.
                    let first = (client - quiet.start) as f64 / QUIET as f64 + 0.0618;
                    draw.even((seconds as usize).max(1), client, first, QUIET_TOKENS);
                }
            }
        }
        draw.requests.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        if draw.requests.len() > ARRIVALS_MAX {
            let (pattern, limit) = (pattern.label(), ARRIVALS_MAX);
            return Err(Error::TooManyArrivals { pattern, limit });
        }
        let (name, description) = (pattern.label().into(), pattern.description(device));
        Ok(Arrivals { name, description, requests: draw.requests, clients, quiet, seconds })
    }

    /// Returns the arrivals of a recorded trace, all of one client.
    ///
    /// # Errors
    /// [`Error::TraceTooLong`] if a request has more tokens than a batch may have.
    pub fn from_trace(
        trace: &Trace,
        name: &str,
        device: &SimulatedDevice,
    ) -> Result<Arrivals, Error> {
        let limit = device.limits.max_batch_tokens;
        let lines = trace.lines();
        if let Some(line) = lines.iter().find(|line| line.tokens > limit) {
            let (origin, tokens) = (name.to_owned(), line.tokens);
            return Err(Error::TraceTooLong { origin, tokens, device: device.name, limit });
        }
        let arrival =
            |&TraceLine { seconds, tokens }: &TraceLine| Arrival { seconds, tokens, client: 0 };
        Ok(Arrivals {
            name: name.to_owned(),
            description: format!("{} requests of a recorded trace, one client", lines.len()),
            requests: lines.iter().map(arrival).collect(),
            clients: 1,
            quiet: 0..0,
            seconds: lines.last().map_or(0.0, |line| line.seconds),
        })
    }

    /// Returns the device time of the requests by themselves, as a share of the trace's length.
    pub(super) fn load(&self, device: &SimulatedDevice) -> f64 {
        let work = self.requests.iter().map(|one| device.costs.of_sequence(one.tokens));
        work.sum::<f64>() / self.seconds.max(1e-3)
    }
}

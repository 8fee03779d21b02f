//! Memory of a remote target, from its Prometheus page.
//!
//! The page is read once before the load, so that a wrong URL is an error. Then a task reads it at an interval;
//! callers get the latest reading without waiting. If the page cannot be read there is no reading at all, because
//! an old one would look like constant memory; the report says how many failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Uri;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::Client;
use super::error::TargetError;
use super::failure::{error_message, sanitize};
use super::secrets::Secrets;
use crate::system::memory::{ArenaSample, MemorySample, fragmentation};

const RSS: &str = "process_resident_memory_bytes";
const DEVICE: &str = "bigbatch_device_memory_bytes";
const CARD: &str = "bigbatch_card_memory_bytes";
const CAPACITY: &str = "bigbatch_arena_capacity_bytes";
const USED: &str = "bigbatch_arena_used_bytes";
const HIGH_WATER: &str = "bigbatch_arena_high_water_bytes";
const LARGEST_FREE: &str = "bigbatch_arena_largest_free_bytes";

/// The metrics that are read, as `bigbatch serve` exports them. Those of device and card are exported only
/// if the driver reports them.
pub const MEMORY_METRICS: [&str; 7] = [RSS, DEVICE, CARD, CAPACITY, USED, HIGH_WATER, LARGEST_FREE];

/// Time limit of one reading of the page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of a metrics page, and the client that reads it.
pub(super) struct MetricsPage {
    pub(super) client: Client,
    pub(super) uri: Uri,
    /// The URL without secrets, for messages.
    pub(super) name: String,
    /// What messages must not repeat.
    pub(super) secrets: Secrets,
}

/// A task that reads a metrics page; it ends when this value is dropped.
pub(super) struct Scraper {
    page: Arc<MetricsPage>,
    state: Arc<Mutex<ScrapeState>>,
    /// Whether the first reading had a metric that is known.
    known: bool,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct ScrapeState {
    latest: MemorySample,
    readings: usize,
    failed: usize,
    /// Why the last failed reading failed.
    reason: String,
}

impl MetricsPage {
    /// Reads the page once, and from then on at the interval `every`, on the caller's runtime.
    ///
    /// # Errors
    /// [`TargetError::MetricsPage`] if the page cannot be read or is not a Prometheus page: a mistyped URL would
    /// otherwise cost the run its memory figures.
    pub(super) async fn start(self, every: Duration) -> Result<Scraper, TargetError> {
        let first = self.read().await;
        let page = self.name.clone();
        let first = first.map_err(|reason| TargetError::MetricsPage { page, reason })?;
        let (page, state) = (Arc::new(self), Arc::new(Mutex::new(ScrapeState::default())));
        let (of_task, shared) = (Arc::clone(&page), Arc::clone(&state));
        let task = tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let reading = of_task.read().await;
                lock(&shared).add(reading);
            }
        });
        Ok(Scraper { page, state, known: first != MemorySample::default(), task })
    }

    /// Reads the page; the error is the reason in one clause.
    async fn read(&self) -> Result<MemorySample, String> {
        let reply = match timeout(PAGE_TIMEOUT, self.client.get(self.uri.clone())).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(fault)) => return Err(sanitize(fault.message(), &self.secrets)),
            Err(_) => return Err(format!("no answer within {} s", PAGE_TIMEOUT.as_secs())),
        };
        let text = String::from_utf8_lossy(&reply.body);
        if !reply.status.is_success() {
            let message = sanitize(&error_message(&reply.body), &self.secrets);
            return Err(format!("HTTP {}: {message}", reply.status.as_u16()));
        }
        if !is_prometheus(&text) {
            return Err("it is not in Prometheus' text format".into());
        }
        Ok(sample(&text))
    }
}

fn lock(state: &Mutex<ScrapeState>) -> MutexGuard<'_, ScrapeState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ScrapeState {
    fn add(&mut self, reading: Result<MemorySample, String>) -> MemorySample {
        self.readings += 1;
        self.latest = reading.unwrap_or_else(|reason| {
            (self.failed, self.reason) = (self.failed + 1, reason);
            MemorySample::default()
        });
        self.latest
    }
}

impl Scraper {
    /// Takes a reading that begins now.
    pub(super) async fn now(&self) -> MemorySample {
        let reading = self.page.read().await;
        lock(&self.state).add(reading)
    }

    /// Returns the latest reading; empty before the first.
    pub(super) fn latest(&self) -> MemorySample {
        lock(&self.state).latest
    }

    /// Returns why the target's memory is not or not always known, in one sentence; `None` if it is.
    pub(super) fn fault(&self) -> Option<String> {
        let state = lock(&self.state);
        let page = &self.page.name;
        if state.failed > 0 {
            let (failed, readings, reason) = (state.failed, state.readings, &state.reason);
            return Some(format!("{failed} of {readings} readings of {page} failed: {reason}"));
        }
        (!self.known).then(|| {
            format!(
                "{page} has none of the metrics that are read ({}), so the target's memory is not known",
                MEMORY_METRICS.join(", ")
            )
        })
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns true if a line of `page` is a sample, `name{labels} value`, or if it has no samples at all.
fn is_prometheus(page: &str) -> bool {
    let mut samples =
        page.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_sample = |line: &str| {
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        let Some((name, _)) = end.map(|end| line.split_at(end)) else { return false };
        let starts = name.starts_with(|c: char| !c.is_ascii_digit());
        starts && number_after(line, name).is_some()
    };
    samples.next().is_none_or(|first| is_sample(first) || samples.any(is_sample))
}

/// Reads the memory metrics of a page in Prometheus' text format. Several series of a metric, such as one
/// per model, are added up; the largest free block is the largest of any series, and fragmentation is
/// computed per arena.
pub(super) fn sample(page: &str) -> MemorySample {
    let series = |metric: &str| -> BTreeMap<&str, u64> {
        page.lines().filter_map(|line| value(line, metric)).collect()
    };
    let sum = |metric: &str| {
        let series = series(metric);
        (!series.is_empty()).then(|| series.values().fold(0u64, |sum, &v| sum.saturating_add(v)))
    };
    let arena = || {
        let (capacity, used) = (series(CAPACITY), series(USED));
        let largest_free = series(LARGEST_FREE);
        let of_one = |(labels, &largest): (&&str, &u64)| {
            let free = capacity.get(labels)?.saturating_sub(*used.get(labels)?);
            Some(fragmentation(free, largest))
        };
        let each = largest_free.iter().filter_map(of_one);
        Some(ArenaSample {
            capacity_bytes: sum(CAPACITY)?,
            used_bytes: sum(USED)?,
            high_water_bytes: sum(HIGH_WATER)?,
            largest_free_bytes: *largest_free.values().max()?,
            fragmentation_max: (largest_free.len() > 1).then(|| each.fold(0.0, f64::max)),
        })
    };
    MemorySample {
        rss_bytes: sum(RSS),
        device_used_bytes: sum(DEVICE),
        card_used_bytes: sum(CARD),
        arena: arena(),
        ..MemorySample::default()
    }
}

/// Returns labels and value of a line of `metric` if the value is a size in bytes.
fn value<'a>(line: &'a str, metric: &str) -> Option<(&'a str, u64)> {
    let (labels, number) = number_after(line, metric)?;
    (0.0..1e18).contains(&number).then_some((labels, number as u64))
}

/// Returns labels and value of a line of `metric`: `metric{label="x"} 1.5e+09 [timestamp]`.
fn number_after<'a>(line: &'a str, metric: &str) -> Option<(&'a str, f64)> {
    let rest = line.trim_start().strip_prefix(metric)?;
    let (labels, after) = match rest.strip_prefix('{') {
        Some(labels) => labels.split_at(labels.rfind('}')? + 1),
        None => ("", rest.starts_with([' ', '\t']).then_some(rest)?),
    };
    Some((labels, after.split_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_page_of_ours_and_one_of_others() {
        let page = "# HELP process_resident_memory_bytes RSS\n\
                    process_resident_memory_bytes 1.073741824e+09\n\
                    process_resident_memory_bytes_max 7\n\
                    bigbatch_arena_capacity_bytes{device=\"0\"} 1000\n\
                    bigbatch_arena_capacity_bytes{device=\"1 } \"} 1000 1700000000000\n\
                    bigbatch_arena_used_bytes{device=\"0\"} 100\n\
                    bigbatch_arena_used_bytes{device=\"1\"} 200\n\
                    bigbatch_arena_high_water_bytes 400\n\
                    bigbatch_arena_largest_free_bytes{device=\"0\"} 900\n\
                    bigbatch_arena_largest_free_bytes{device=\"1\"} 800\n";
        let arena = ArenaSample {
            capacity_bytes: 2000,
            used_bytes: 300,
            high_water_bytes: 400,
            largest_free_bytes: 900,
            fragmentation_max: Some(0.0),
        };
        let expected =
            MemorySample { rss_bytes: Some(1 << 30), arena: Some(arena), ..Default::default() };
        assert_eq!(sample(page), expected);
        assert_eq!(sample("te_queue_size 4\n").arena, None);
    }

    #[test]
    fn a_page_of_something_else_is_recognised() {
        for page in [
            "",
            "# HELP a b\n",
            "up 1",
            "a{b=\"c d\"} NaN 17",
            "a:b_total +Inf # {} 1",
            "<!--\nup 1",
        ] {
            assert!(is_prometheus(page), "{page}");
        }
        for page in
            ["<html>\n<p>up</p></html>", "{\"a\": 1}", "Not Found", "404 page not found", "1 2"]
        {
            assert!(!is_prometheus(page), "{page}");
        }
    }

    #[test]
    fn each_arena_is_fragmented_by_itself() {
        let page = |largest: [u64; 2]| {
            let models = ["{model=\"a\"}", "{model=\"b\"}"];
            let series = |metric: &str, values: [u64; 2]| {
                let line = |(labels, value)| format!("{metric}{labels} {value}\n");
                models.iter().zip(values).map(line).collect::<String>()
            };
            series(CAPACITY, [1000, 100])
                + &series(USED, [0, 0])
                + &series(HIGH_WATER, [9, 9])
                + &series(LARGEST_FREE, largest)
                + DEVICE
                + " 700\n"
                + CARD
                + " 800\n"
        };
        let whole = sample(&page([1000, 100]));
        assert_eq!((whole.device_used_bytes, whole.card_used_bytes), (Some(700), Some(800)));
        let fragmentation = |sample: MemorySample| sample.arena.expect("told").fragmentation();
        assert_eq!(fragmentation(whole), 0.0, "two arenas are no fragments of one");
        // The smaller one's half does not vanish beside the larger one.
        assert_eq!(fragmentation(sample(&page([1000, 50]))), 0.5);
    }

    #[test]
    fn what_is_no_reading_is_none_and_never_zero() {
        for page in [
            "",
            "process_resident_memory_bytes NaN",
            "process_resident_memory_bytes -1",
            "process_resident_memory_bytes{",
            "process_resident_memory_bytes",
            "process_resident_memory_bytes{a=\"}",
            "# process_resident_memory_bytes 5",
            "bigbatch_arena_used_bytes 5",
        ] {
            assert_eq!(sample(page), MemorySample::default(), "{page}");
        }
    }
}

//! Memory of a remote target, from its Prometheus page.
//!
//! A task reads the page at an interval; callers get the latest reading without waiting. If the page
//! cannot be read there is no reading at all, because an old one would look like constant memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Uri;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::Client;
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

/// A task that reads a metrics page; it ends when this value is dropped.
pub(super) struct Scraper {
    latest: Arc<Mutex<MemorySample>>,
    client: Arc<Client>,
    page: Uri,
    task: JoinHandle<()>,
}

impl Scraper {
    /// Starts to read the page at the interval `every`, on the caller's runtime.
    pub(super) fn start(client: Client, page: Uri, every: Duration) -> Scraper {
        let latest = Arc::new(Mutex::new(MemorySample::default()));
        let shared = Arc::clone(&latest);
        let client = Arc::new(client);
        let (own_client, own_page) = (Arc::clone(&client), page.clone());
        let task = tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let sample = scrape(&own_client, own_page.clone()).await;
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = sample;
            }
        });
        Scraper { latest, client, page, task }
    }

    /// Takes a reading that begins now.
    pub(super) async fn now(&self) -> MemorySample {
        scrape(&self.client, self.page.clone()).await
    }

    /// Returns the latest reading; empty before the first.
    pub(super) fn latest(&self) -> MemorySample {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn scrape(client: &Client, page: Uri) -> MemorySample {
    match timeout(PAGE_TIMEOUT, client.get(page)).await {
        Ok(Ok(reply)) if reply.status.is_success() => sample(&String::from_utf8_lossy(&reply.body)),
        _ => MemorySample::default(),
    }
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

/// Returns labels and value of a line of `metric`: `metric{label="x"} 1.5e+09 [timestamp]`.
fn value<'a>(line: &'a str, metric: &str) -> Option<(&'a str, u64)> {
    let rest = line.trim_start().strip_prefix(metric)?;
    let (labels, after) = match rest.strip_prefix('{') {
        Some(labels) => labels.split_at(labels.rfind('}')? + 1),
        None => ("", rest.starts_with([' ', '\t']).then_some(rest)?),
    };
    let number: f64 = after.split_whitespace().next()?.parse().ok()?;
    (0.0..1e18).contains(&number).then_some((labels, number as u64))
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

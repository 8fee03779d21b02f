//! Memory of a target elsewhere, from its Prometheus page.
//!
//! A task asks for the page again and again; readers get the latest reading at once. A page that could
//! not be had leaves no reading at all: an old one would look like memory that stands still.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Uri;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::Client;
use crate::target::{ArenaSample, MemorySample};

/// No page is waited for longer.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// A task that reads a metrics page; it ends with this value.
pub(super) struct Scraper {
    latest: Arc<Mutex<MemorySample>>,
    task: JoinHandle<()>,
}

impl Scraper {
    /// Starts to read the page every `every`, on the runtime of the caller.
    pub(super) fn start(client: Client, page: Uri, every: Duration) -> Scraper {
        let latest = Arc::new(Mutex::new(MemorySample::default()));
        let shared = Arc::clone(&latest);
        let task = tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let sample = scrape(&client, page.clone()).await.unwrap_or_default();
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = sample;
            }
        });
        Scraper { latest, task }
    }

    /// The latest reading.
    pub(super) fn latest(&self) -> MemorySample {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn scrape(client: &Client, page: Uri) -> Option<MemorySample> {
    let reply = timeout(PAGE_TIMEOUT, client.get(page)).await.ok()?.ok()?;
    reply.status.is_success().then(|| sample(&String::from_utf8_lossy(&reply.body)))
}

/// What a page in Prometheus' text format says of memory. Where a metric has several series, one a
/// device say, they are added up; the largest free block is the largest of any.
pub(super) fn sample(page: &str) -> MemorySample {
    let values = |metric: &str| -> Vec<u64> {
        page.lines().filter_map(|line| value(line, metric)).collect()
    };
    let sum = |metric: &str| {
        let values = values(metric);
        (!values.is_empty()).then(|| values.iter().fold(0u64, |sum, &v| sum.saturating_add(v)))
    };
    let arena = || {
        Some(ArenaSample {
            capacity_bytes: sum("bigbatch_arena_capacity_bytes")?,
            used_bytes: sum("bigbatch_arena_used_bytes")?,
            high_water_bytes: sum("bigbatch_arena_high_water_bytes")?,
            largest_free_bytes: values("bigbatch_arena_largest_free_bytes").into_iter().max()?,
        })
    };
    MemorySample {
        rss_bytes: sum("process_resident_memory_bytes"),
        arena: arena(),
        ..MemorySample::default()
    }
}

/// The value of one line of `metric`: `metric{label="x"} 1.5e+09 [timestamp]`.
fn value(line: &str, metric: &str) -> Option<u64> {
    let rest = line.trim_start().strip_prefix(metric)?;
    let after = match rest.strip_prefix('{') {
        Some(labels) => &labels[labels.rfind('}')? + 1..],
        None => rest.starts_with([' ', '\t']).then_some(rest)?,
    };
    let number: f64 = after.split_whitespace().next()?.parse().ok()?;
    (0.0..1e18).contains(&number).then_some(number as u64)
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
        };
        let expected =
            MemorySample { rss_bytes: Some(1 << 30), arena: Some(arena), ..Default::default() };
        assert_eq!(sample(page), expected);
        assert_eq!(sample("te_queue_size 4\n").arena, None);
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

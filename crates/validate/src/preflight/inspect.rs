//! Reads the facts about this machine from `/proc`, the control group and the file system.

use std::fs;
use std::path::Path;

use bigbatch_engine::units::proc_bytes;

use super::judge::{Host, MachineFacts, RequestCounts, judge};
use super::{ComputeLocation, Finding, OpenFiles};
use crate::plan::{EdgeRules, Plan};

/// Reads and judges this machine, for a run of `plan` and the search of `edge` after it, with the report in `out`, an
/// existing directory. Raises this process's limit on open files as far as the system allows.
pub fn inspect(
    plan: &Plan,
    edge: Option<&EdgeRules>,
    out: &Path,
    computes: ComputeLocation,
) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let meminfo = read("/proc/meminfo");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // A container sees the load and the processors of its whole host.
    let processors =
        read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count();
    let host = Host {
        free_bytes: lesser(proc_bytes(&meminfo, "MemAvailable"), free_in_group()),
        total_bytes: bigbatch_engine::host::memory_limit_bytes(),
        threads,
        processors: processors.max(threads),
        load: load(&read("/proc/loadavg")),
    };
    judge(&MachineFacts {
        host,
        disk: disk(out),
        needs: RequestCounts::for_plan(plan),
        open_files: OpenFiles::raise_for(plan, edge),
        computes,
    })
}

/// Returns the bytes free for this user, and the total bytes, of the file system of `path`.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let stats = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stats.f_frsize);
    Some((bytes(stats.f_bavail), bytes(stats.f_blocks)))
}

fn lesser(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// Parses the mean number of running and waiting processes in the last minute.
fn load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
}

/// Returns the memory limit of this process's control group (version 2), if it has one.
fn group_limit() -> Option<u64> {
    fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

fn free_in_group() -> Option<u64> {
    let current: u64 =
        fs::read_to_string("/sys/fs/cgroup/memory.current").ok()?.trim().parse().ok()?;
    let stat = fs::read_to_string("/sys/fs/cgroup/memory.stat").ok()?;
    Some(free_within(group_limit()?, current, &stat))
}

/// Returns the memory left of a limit. Inactive page cache counts as free: it is evicted when needed.
fn free_within(limit: u64, current: u64, stat: &str) -> u64 {
    let idle = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok());
    limit.saturating_sub(current.saturating_sub(idle.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_system_writes() {
        assert_eq!((load("9.42 8.1 7.0 3/400 123\n"), load("")), (Some(9.42), None));
        let stat = "anon 5\nfile 900\ninactive_file 300\n";
        assert_eq!(
            (free_within(1000, 800, stat), free_within(1000, 800, ""), free_within(10, 800, "")),
            (500, 200, 0)
        );
        assert_eq!(
            (lesser(Some(2), None), lesser(Some(2), Some(1)), lesser(None, None)),
            (Some(2), Some(1), None)
        );
    }

    #[test]
    fn a_file_system_has_no_more_free_than_it_has() {
        let (free, total) = disk(Path::new(".")).expect("a directory that exists");
        assert!(total > 0 && free <= total, "{free} {total}");
        assert_eq!(disk(Path::new("no/such/place")), None);
    }
}

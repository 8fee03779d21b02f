//! The memory of the host: how much this process may use, and what it no longer uses given back to the system.

use std::fs;
use std::path::Path;

use crate::units::proc_bytes;

/// Returns the memory of this machine in bytes, or the lowest limit of the control groups that this process is in;
/// `None` where neither can be read.
pub fn memory_limit_bytes() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = proc_bytes(&read("/proc/meminfo"), "MemTotal");
    let group = group_limit_bytes(&read("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
    machine.into_iter().chain(group).min()
}

/// Returns the resident memory of this process in bytes; `None` where the system does not tell.
pub fn resident_bytes() -> Option<u64> {
    proc_bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
}

/// The largest allocation that comes from the allocator's heaps, and the largest free end of a heap that it keeps. The
/// operands that a product of matrices packs on a CPU are a few megabytes: they are not taken anew for each.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 4 << 20;

/// Makes glibc's allocator give large allocations back to the system when they are freed; others are left as they are.
/// By default it keeps up to 64 MiB at the end of each thread's heap, which [`return_free_memory`] does not reach.
pub fn bound_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: they take numbers, and the allocator locks itself.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}

/// Gives pages back to the system that the allocator keeps for later allocations, where it is glibc's; elsewhere
/// does nothing. Threads that allocate meanwhile may have to wait for it.
pub fn return_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Returns the lowest memory limit of the control groups in `/proc/self/cgroup`, of either version, below `root`.
/// A group's limit also binds the groups inside it. In a container the root of the file system is often the
/// container's own group, whatever the paths say, so that it is read too.
fn group_limit_bytes(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let (mount, file) = match controllers {
            "" => ("", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let mount = root.join(mount);
        let groups = Path::new(group.trim_start_matches('/')).ancestors();
        let limit = |group: &Path| -> Option<u64> {
            fs::read_to_string(mount.join(group).join(file)).ok()?.trim().parse().ok()
        };
        groups.filter_map(limit).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_all_groups_counts() {
        let root = std::env::temp_dir().join(format!("bigbatch-groups-{}", std::process::id()));
        let write = |file: &str, limit: &str| {
            let file = root.join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
            fs::write(file, limit).expect("it can be written");
        };
        write("memory.max", "max\n");
        write("a/memory.max", "1000\n");
        write("a/b/memory.max", "2000\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/c/memory.limit_in_bytes", "3000\n");
        let limit = |groups: &str| group_limit_bytes(groups, &root);
        assert_eq!(limit("0::/a/b\n"), Some(1000), "the outer group is the smaller");
        assert_eq!(limit("0::/\n"), None, "max is no limit");
        assert_eq!(limit("5:cpu,memory:/c\n4:pids:/c\n0::/\n"), Some(3000));
        assert_eq!(limit("5:memory:/elsewhere\n"), Some(9_223_372_036_854_771_712));
        assert_eq!((limit(""), limit("nonsense")), (None, None));
        fs::remove_dir_all(&root).expect("it was made here");
    }
}

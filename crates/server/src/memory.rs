//! The memory of the host that requests may take: one budget in bytes for the whole process.
//!
//! A request has one `Charge`, the bytes that it may hold: its head; its body while it arrives, is decompressed and is
//! parsed; then its texts, their tokens and its answer, until the socket has taken the last byte. A charge grows before
//! the memory is allocated. Nothing waits for it to grow: a request that does not fit the budget is refused with 429.
//! `footprint` computes the bytes of each step.
//!
//! A quarter of the budget is for charges of up to 64 KiB: requests with long texts and large answers leave it to short
//! ones. A sixteenth is for health checks, metrics and pages. The budget does not cover what is allocated once at start: weights, the arena, tokenizers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bigbatch_engine::host::return_free_memory;
use tokio::sync::Notify;

use crate::error::Refusal;
use crate::observe::ConnectionCounters;

/// Charges up to this size may take all of the budget, larger ones three quarters of it.
const SMALL_BYTES: usize = 64 << 10;

/// The budget over what only health checks, metrics and pages may take.
const SPARE_SHARE: usize = 16;

/// Smallest default of the budget.
const DEFAULT_BYTES_MIN: u64 = 64 << 20;

/// Bytes by which all charges together must have fallen before free memory is returned to the system.
const RETURNED_BYTES_MIN: usize = 8 << 20;

/// Time from the fall of the charges to the return of memory: what they stand for is freed soon after them, and the
/// next requests may need it again. It also limits the number of returns per second.
const RETURN_DELAY: Duration = Duration::from_secs(1);

/// The budget.
#[derive(Debug)]
pub(crate) struct HostMemory {
    all: Account,
    /// What lies beyond [`SMALL_BYTES`] of each charge.
    large: Account,
    /// The most bytes of all charges since free memory was returned to the system.
    peak: AtomicUsize,
    /// Notified when the charges have fallen far below their peak.
    fallen: Notify,
}

/// Bytes taken, up to a limit.
#[derive(Debug)]
struct Account {
    taken: AtomicUsize,
    limit: usize,
}

impl Account {
    fn new(limit: usize) -> Account {
        Account { taken: AtomicUsize::new(0), limit }
    }

    /// Takes bytes if the limit, less what is kept for others, allows.
    fn take(&self, bytes: usize, kept: usize) -> bool {
        let limit = self.limit - kept;
        let fits = |taken: usize| taken.checked_add(bytes).filter(|&sum| sum <= limit);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok()
    }

    fn put_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// Returns free memory to the system each time that many connections have been closed; never ends.
pub(crate) async fn return_after(connections: &ConnectionCounters) {
    loop {
        connections.wait_for_fall().await;
        tokio::time::sleep(RETURN_DELAY).await;
        // It does not panic, so there is nothing to be lost.
        let _ = tokio::task::spawn_blocking(return_free_memory).await;
    }
}

/// Returns the default budget: a quarter of the memory that this process may use, and 64 MiB at least.
pub fn default_budget_bytes() -> usize {
    let limit = bigbatch_engine::host::memory_limit_bytes().unwrap_or(0);
    (limit / 4).max(DEFAULT_BYTES_MIN) as usize
}

impl HostMemory {
    pub(crate) fn new(budget_bytes: usize) -> Arc<HostMemory> {
        let large = Account::new(budget_bytes - budget_bytes / 4);
        let (peak, fallen) = (AtomicUsize::new(0), Notify::new());
        Arc::new(HostMemory { all: Account::new(budget_bytes), large, peak, fallen })
    }

    /// Returns an empty charge.
    pub(crate) fn charge(self: &Arc<HostMemory>) -> Arc<Charge> {
        Arc::new(self.new_charge(0, self.spare_bytes()))
    }

    /// Returns an empty charge that may also take what is kept for health checks and metrics: a sixteenth.
    pub(crate) fn spare_charge(self: &Arc<HostMemory>) -> Arc<Charge> {
        Arc::new(self.new_charge(0, 0))
    }

    fn new_charge(self: &Arc<HostMemory>, base: usize, kept: usize) -> Charge {
        Charge { memory: self.clone(), base, kept, all: AtomicUsize::new(0) }
    }

    fn spare_bytes(&self) -> usize {
        self.budget_bytes() / SPARE_SHARE
    }

    /// Returns the charge of a request that takes `base` bytes as long as it lives.
    ///
    /// # Errors
    /// As [`Charge::set`].
    pub(crate) fn charge_with_base(
        self: &Arc<HostMemory>,
        base: usize,
    ) -> Result<Arc<Charge>, Refusal> {
        let charge = self.new_charge(base, self.spare_bytes());
        charge.set(0)?;
        Ok(Arc::new(charge))
    }

    /// Returns the budget in bytes.
    pub(crate) fn budget_bytes(&self) -> usize {
        self.all.limit
    }

    /// Returns the bytes of all charges.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.all.taken.load(Ordering::Relaxed)
    }

    /// Returns free memory to the system when the charges have fallen far below their peak and stayed there, which the
    /// allocator would keep for ever. Never ends; costs nothing while no requests arrive.
    pub(crate) async fn return_after_bursts(&self) {
        loop {
            self.fallen.notified().await;
            let burst = self.peak.swap(0, Ordering::Relaxed);
            // A charge that grows meanwhile has been taken before it raises the peak, so that none is missed.
            self.peak.fetch_max(self.taken_bytes(), Ordering::Relaxed);
            tokio::time::sleep(RETURN_DELAY).await;
            if self.peak.load(Ordering::Relaxed) <= burst / 2 {
                // It does not panic, so there is nothing to be lost.
                let _ = tokio::task::spawn_blocking(return_free_memory).await;
                continue;
            }
            // Requests go on: what they took they would take again.
            self.peak.fetch_max(burst, Ordering::Relaxed);
            if self.is_far_below_peak() {
                self.fallen.notify_one();
            }
        }
    }

    /// Returns whether the charges have fallen by half and by [`RETURNED_BYTES_MIN`] since their peak.
    fn is_far_below_peak(&self) -> bool {
        let (peak, taken) = (self.peak.load(Ordering::Relaxed), self.taken_bytes());
        taken <= peak / 2 && peak.saturating_sub(taken) >= RETURNED_BYTES_MIN
    }

    /// Returns the error for a charge that does not fit now.
    fn overloaded(&self) -> Refusal {
        let message = format!(
            "the memory for requests is in use, {} bytes (--host-memory-budget); try again later",
            self.budget_bytes()
        );
        Refusal::Overloaded { message, wait: None }
    }

    /// Returns the bytes that a single charge can have at most.
    fn charge_bytes_max(&self) -> usize {
        (self.large.limit + SMALL_BYTES).min(self.all.limit - self.spare_bytes())
    }

    /// Checks that a request of so many bytes fits while there is no other.
    ///
    /// # Errors
    /// [`Refusal::NeedsMemory`].
    pub(crate) fn check_fits(&self, needed_bytes: usize) -> Result<(), Refusal> {
        let limit_bytes = self.charge_bytes_max();
        match needed_bytes <= limit_bytes {
            true => Ok(()),
            false => Err(Refusal::NeedsMemory { needed_bytes, limit_bytes }),
        }
    }
}

/// The bytes that one request may hold. Given back when the last owner drops it: a request that was cancelled may still
/// be on the device.
#[derive(Debug)]
pub(crate) struct Charge {
    memory: Arc<HostMemory>,
    /// Bytes that are charged until it is dropped, besides those of [`Charge::set`].
    base: usize,
    /// Bytes of the budget that it may not take.
    kept: usize,
    /// Bytes charged, both together.
    all: AtomicUsize,
}

impl Charge {
    /// Returns the bytes that [`Charge::set`] has set.
    pub(crate) fn bytes(&self) -> usize {
        self.all.load(Ordering::Relaxed).saturating_sub(self.base)
    }

    /// Returns the error for memory that could not be had.
    pub(crate) fn refused(&self) -> Refusal {
        self.memory.overloaded()
    }

    /// Returns whether the charge may take three quarters of the budget only.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes() > SMALL_BYTES
    }

    /// Grows or shrinks to `bytes`. A charge has several owners, of which only the request itself changes it.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] if the budget is spent, [`Refusal::NeedsMemory`] if it could never hold as much; the
    /// charge is as before.
    pub(crate) fn set(&self, bytes: usize) -> Result<(), Refusal> {
        self.resize(bytes.saturating_add(self.base))
    }

    fn resize(&self, bytes: usize) -> Result<(), Refusal> {
        let HostMemory { all, large, .. } = &*self.memory;
        let large_part = |bytes: usize| bytes.saturating_sub(SMALL_BYTES);
        let before = self.all.load(Ordering::Relaxed);
        if bytes <= before {
            self.all.store(bytes, Ordering::Relaxed);
            large.put_back(large_part(before) - large_part(bytes));
            all.put_back(before - bytes);
            if self.memory.is_far_below_peak() {
                self.memory.fallen.notify_one();
            }
            return Ok(());
        }
        self.memory.check_fits(bytes)?;
        let (more, more_large) = (bytes - before, large_part(bytes) - large_part(before));
        let taken = large.take(more_large, 0) && {
            let taken = all.take(more, self.kept);
            if !taken {
                large.put_back(more_large);
            }
            taken
        };
        if !taken {
            return Err(self.memory.overloaded());
        }
        self.memory.peak.fetch_max(self.memory.taken_bytes(), Ordering::Relaxed);
        self.all.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // Shrinking cannot fail.
        let _ = self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn charges_fit_the_budget_and_large_ones_leave_a_quarter_to_small_ones() {
        let memory = HostMemory::new(4 * MIB);
        let (large, other, small) = (memory.charge(), memory.charge(), memory.charge());
        large.set(3 * MIB).expect("three quarters and 64 KiB");
        assert!(matches!(other.set(MIB), Err(Refusal::Overloaded { .. })));
        assert_eq!((other.bytes(), memory.taken_bytes()), (0, 3 * MIB), "nothing was taken");
        small.set(SMALL_BYTES).expect("the last quarter is for small ones");
        large.set(MIB).expect("it shrinks");
        other.set(MIB).expect("now it fits");
        drop((large, other, small));
        assert_eq!((memory.taken_bytes(), memory.large.taken.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn a_charge_that_can_never_fit_is_refused_for_good() {
        let memory = HostMemory::new(4 * MIB);
        let charge = memory.charge();
        let limit_bytes = 3 * MIB + SMALL_BYTES;
        charge.set(limit_bytes).expect("it is alone");
        let refused = charge.set(limit_bytes + 1);
        assert_eq!(
            refused,
            Err(Refusal::NeedsMemory { needed_bytes: limit_bytes + 1, limit_bytes })
        );
        assert_eq!(charge.bytes(), limit_bytes);
    }

    #[test]
    fn memory_is_returned_after_a_deep_fall_only() {
        let memory = HostMemory::new(64 * MIB);
        let (small, large) = (memory.charge(), memory.charge());
        small.set(RETURNED_BYTES_MIN - 1).expect("it fits");
        drop(small);
        assert!(!memory.is_far_below_peak(), "too few bytes");
        large.set(24 * MIB).expect("it fits");
        large.set(13 * MIB).expect("it shrinks");
        assert!(!memory.is_far_below_peak(), "more than half of them are left");
        large.set(12 * MIB).expect("it shrinks");
        assert!(memory.is_far_below_peak());
    }

    #[test]
    fn many_threads_never_exceed_the_budget() {
        let memory = HostMemory::new(4 * MIB);
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let charges = [(); 8].map(|()| memory.charge());
                    for _ in 0..10_000 {
                        let _ = charges[random.usize(..8)].set(random.usize(..MIB));
                        assert!(memory.taken_bytes() <= 4 * MIB);
                    }
                });
            }
        });
        assert_eq!((memory.taken_bytes(), memory.large.taken.load(Ordering::Relaxed)), (0, 0));
    }
}

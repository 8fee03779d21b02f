//! The memory of the host that requests may take: one budget in bytes for the whole process.
//!
//! A request has one `Charge`, the bytes that it may hold: its head; its body while it arrives, is decompressed and is
//! parsed; then its texts, their tokens and its answer, until the socket has taken the last byte. A charge grows before
//! the memory is allocated. Nothing waits for it to grow: a request that does not fit the budget is refused with 429.
//! `footprint` computes the bytes of each step.
//!
//! A quarter of the budget is for charges of up to 64 KiB: requests with long texts and large answers leave it to short
//! ones. A sixteenth is for health checks, metrics and pages. The budget does not cover what is allocated once at start:
//! weights, the arena, tokenizers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::error::Refusal;

/// Charges up to this size may take all of the budget, larger ones three quarters of it.
const SMALL_BYTES: usize = 64 << 10;

/// The budget divided by the part of it that only health checks, metrics and pages may take.
const SPARE_SHARE: usize = 16;

/// Smallest default of the budget.
const DEFAULT_BYTES_MIN: u64 = 64 << 20;

/// The budget.
#[derive(Debug)]
pub(crate) struct HostMemory {
    all: Account,
    /// What lies beyond [`SMALL_BYTES`] of each charge.
    large: Account,
    /// Notified when a charge has been dropped.
    ended: Notify,
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

/// Returns the default budget: a quarter of the memory that this process may use, and 64 MiB at least.
pub fn default_budget_bytes() -> usize {
    let limit = bigbatch_engine::host::memory_limit_bytes().unwrap_or(0);
    (limit / 4).max(DEFAULT_BYTES_MIN) as usize
}

impl HostMemory {
    pub(crate) fn new(budget_bytes: usize) -> Arc<HostMemory> {
        let large = Account::new(budget_bytes - budget_bytes / 4);
        Arc::new(HostMemory { all: Account::new(budget_bytes), large, ended: Notify::new() })
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

    /// Waits until a request has ended.
    pub(crate) async fn wait_for_end(&self) {
        self.ended.notified().await;
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
        self.all.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // Shrinking cannot fail.
        let _ = self.resize(0);
        self.memory.ended.notify_one();
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

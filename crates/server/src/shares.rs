//! How many slots of an engine each client holds: one client may not take all of them while others want some.
//!
//! Clients share the slots equally: the share of each is their number divided by the clients that hold a slot or have asked
//! for one within [`ACTIVE`]. A client within its share is refused only if no slot is free. Beyond it, a client may hold as
//! many more as are still free: half of what others leave. So a client alone may take all, and one that floods is refused
//! before one that sends little. One that begins while a single client holds all finds a spare slot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time for which a client that has asked for a slot counts.
const ACTIVE: Duration = Duration::from_secs(10);

/// Clients without a slot that are remembered at most.
const IDLE_MAX: usize = 4096;

/// The slots that each client holds. Clients are known by their [`Flow::share`](bigbatch_engine::Flow::share).
pub(crate) struct Shares {
    capacity: usize,
    clients: Mutex<HashMap<u64, Client>>,
}

struct Client {
    held: usize,
    asked: Instant,
}

/// Why a client gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// None is free.
    Full,
    /// The client holds so many, its share and as many more as are free.
    OverShare { held: usize },
}

/// A slot that counts as held by its client until it is dropped.
pub(crate) struct ClientSlot<P> {
    shares: Arc<Shares>,
    client: u64,
    _permit: P,
}

impl<P> Drop for ClientSlot<P> {
    fn drop(&mut self) {
        if let Some(client) = self.shares.clients().get_mut(&self.client) {
            client.held -= 1;
        }
    }
}

impl Shares {
    pub(crate) fn new(capacity: usize) -> Arc<Shares> {
        Arc::new(Shares { capacity, clients: Mutex::default() })
    }

    /// No code panics while it holds the lock, so a poisoned one is still whole.
    fn clients(&self) -> MutexGuard<'_, HashMap<u64, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of the `free` slots for a client. `take` may find none all the same; `spare` is tried then, for a client
    /// that holds none.
    pub(crate) fn take<P>(
        self: &Arc<Shares>,
        client: u64,
        free: usize,
        take: impl FnOnce() -> Option<P>,
        spare: impl FnOnce() -> Option<P>,
    ) -> Result<ClientSlot<P>, NoSlot> {
        let now = Instant::now();
        let mut clients = self.clients();
        let held = entry(&mut clients, client, now).held;
        if held > 0 && free > 0 {
            let active = |other: &&Client| other.held > 0 || now - other.asked < ACTIVE;
            let share = self.capacity / clients.values().filter(active).count().max(1);
            if held >= share && held - share >= free {
                return Err(NoSlot::OverShare { held });
            }
        }
        let permit = take().or_else(|| if held == 0 { spare() } else { None });
        let _permit = permit.ok_or(NoSlot::Full)?;
        entry(&mut clients, client, now).held += 1;
        Ok(ClientSlot { shares: self.clone(), client, _permit })
    }

    /// Counts a slot that a client has waited for.
    pub(crate) fn hold<P>(self: &Arc<Shares>, client: u64, permit: P) -> ClientSlot<P> {
        entry(&mut self.clients(), client, Instant::now()).held += 1;
        ClientSlot { shares: self.clone(), client, _permit: permit }
    }
}

/// Returns a client, which asks now. Forgets those that hold none when there are too many.
fn entry(clients: &mut HashMap<u64, Client>, client: u64, now: Instant) -> &mut Client {
    if clients.len() >= IDLE_MAX && !clients.contains_key(&client) {
        clients.retain(|_, client| client.held > 0);
    }
    let client = clients.entry(client).or_insert(Client { held: 0, asked: now });
    client.asked = now;
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 16;

    /// Slots, and a spare one.
    struct Slots {
        shares: Arc<Shares>,
        held: Vec<(u64, ClientSlot<()>)>,
        spare: usize,
    }

    impl Slots {
        fn new() -> Slots {
            Slots { shares: Shares::new(CAPACITY), held: Vec::new(), spare: 1 }
        }

        fn take(&mut self, client: u64) -> Result<(), NoSlot> {
            let free = (CAPACITY + 1 - self.spare).saturating_sub(self.held.len());
            let free = free.min(CAPACITY.saturating_sub(self.held.len()));
            let spare = &mut self.spare;
            let take = || (free > 0).then_some(());
            let spare = || (*spare > 0).then(|| *spare -= 1);
            let held = self.shares.take(client, free, take, spare)?;
            self.held.push((client, held));
            Ok(())
        }

        fn fill(&mut self, client: u64) -> NoSlot {
            loop {
                if let Err(refused) = self.take(client) {
                    return refused;
                }
            }
        }

        fn count(&self, client: u64) -> usize {
            self.held.iter().filter(|(holder, _)| *holder == client).count()
        }

        fn release(&mut self, client: u64) {
            let at = self.held.iter().position(|(holder, _)| *holder == client);
            self.held.remove(at.expect("it holds one"));
        }
    }

    #[test]
    fn a_client_alone_takes_all_and_one_beside_others_leaves_some() {
        let mut slots = Slots::new();
        assert_eq!(slots.fill(1), NoSlot::Full);
        assert_eq!(slots.count(1), CAPACITY);
        // A client that holds none finds a slot all the same, once.
        slots.take(2).expect("a spare one");
        assert_eq!(slots.take(2), Err(NoSlot::Full));
        assert_eq!(slots.take(3), Err(NoSlot::Full));
        // From now on the first gives way until there is room again.
        for _ in 0..6 {
            slots.release(1);
        }
        assert!(matches!(slots.fill(1), NoSlot::OverShare { .. }));
        let left = CAPACITY - slots.held.len();
        assert!(left > 0 && slots.count(1) < CAPACITY, "{left}");
        slots.take(2).expect("within its share");
        slots.take(3).expect("within its share");
    }

    #[test]
    fn clients_within_their_shares_use_every_slot() {
        let mut slots = Slots::new();
        slots.take(1).expect("free");
        for client in (0..CAPACITY as u64 - 1).map(|n| 1 + n % 4) {
            slots.take(client).expect("it holds less than its share");
        }
        assert_eq!(slots.held.len(), CAPACITY);
    }

    #[test]
    fn the_clients_that_are_remembered_are_bounded() {
        let mut slots = Slots::new();
        slots.take(0).expect("free");
        for client in 1..3 * IDLE_MAX as u64 {
            slots.take(client).expect("free");
            slots.release(client);
            assert!(slots.shares.clients().len() <= IDLE_MAX);
        }
        assert_eq!(slots.shares.clients().get(&0).map(|client| client.held), Some(1));
    }
}

//! The open connections, and which of them makes room when there are too many.
//!
//! A new connection gets a place within `--max-connections` and its address's share; else the longest idle
//! connection (of that address, if its share is used up) is closed for it; else it gets a reserved place, on
//! which only health checks and metrics are served; else none.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::timer::ConnectionTimer;
use crate::observe::{Counters, Cut};
use crate::options::{CLOSING_MAX, Transport};

/// Minimum time without a request after which a connection may be closed to make room: a new client needs a
/// moment to send its request.
const IDLE_TIME_MIN: Duration = Duration::from_secs(1);

/// Time after a search that found no idle connection in which there is no other: each looks at all connections.
const SEARCH_PAUSE: Duration = Duration::from_millis(10);

/// A client as the limit counts it: an IPv4 address or an IPv6 /64, of which one machine has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Client(IpAddr);

impl Client {
    fn of(address: IpAddr) -> Client {
        Client(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address => address,
        })
    }
}

/// All connections of the server.
pub(super) struct Places {
    limits: Arc<Transport>,
    counters: Arc<Counters>,
    state: Mutex<PlacesState>,
    open: watch::Sender<usize>,
}

#[derive(Default)]
struct PlacesState {
    next_id: u64,
    taken: HashMap<u64, Occupant>,
    clients: HashMap<Client, Share>,
    reserved: usize,
    closing: usize,
    searched_at: Option<Instant>,
}

/// The connections of one client.
#[derive(Default)]
struct Share {
    regular: usize,
    reserved: usize,
    searched_at: Option<Instant>,
}

struct Occupant {
    client: Client,
    kind: Kind,
    timer: Arc<ConnectionTimer>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Regular,
    Reserved,
    /// It is being closed to make room, and no longer counts.
    Closing,
}

/// The place of one connection, free again when dropped.
pub(super) struct Place {
    id: u64,
    pub(super) timer: Arc<ConnectionTimer>,
    /// Why the connection has a reserved place, if it has one.
    pub(super) reserved: Option<Cut>,
    places: Arc<Places>,
}

impl Places {
    pub(super) fn new(limits: Arc<Transport>, counters: Arc<Counters>) -> Arc<Places> {
        let (state, open) = (Mutex::default(), watch::Sender::new(0));
        Arc::new(Places { limits, counters, state, open })
    }

    /// Returns a place for a new connection, or `None` if not even a reserved one is free.
    pub(super) fn admit(self: &Arc<Places>, address: IpAddr, now: Instant) -> Option<Place> {
        let client = Client::of(address);
        let mut state = self.state();
        let own = state.clients.get(&client).map_or(0, |share| share.regular);
        let regular = state.taken.len() - state.reserved - state.closing;
        let reserved = if own >= self.limits.connections_per_client() {
            (!state.make_room(Some(client), now)).then_some(Cut::ClientFull)
        } else if regular >= self.limits.max_connections {
            (!state.make_room(None, now)).then_some(Cut::Full)
        } else {
            None
        };
        if let Some(cut) = reserved
            && !state.has_reserved_place(client, self.limits.reserved_connections)
        {
            self.counters.connections.record_cut(cut, address);
            return None;
        }
        let counters = self.counters.clone();
        let timer = ConnectionTimer::new(&self.limits, reserved.is_some(), address, counters);
        let timer = Arc::new(timer);
        let kind = if reserved.is_some() { Kind::Reserved } else { Kind::Regular };
        let id = state.next_id;
        state.next_id += 1;
        state.count(client, kind, 1);
        state.taken.insert(id, Occupant { client, kind, timer: timer.clone() });
        self.publish(&state);
        drop(state);
        Some(Place { id, timer, reserved, places: self.clone() })
    }

    /// Closes the longest idle connection, if there is one.
    pub(super) fn evict_idle(&self) {
        self.state().make_room(None, Instant::now());
    }

    /// Returns the number of open connections.
    pub(super) fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// Waits until all connections have ended.
    pub(super) async fn wait_empty(&self) {
        // The sender is `self`, which outlives this future.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    fn state(&self) -> MutexGuard<'_, PlacesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, state: &PlacesState) {
        let open = state.taken.len();
        self.open.send_replace(open);
        self.counters.connections.set_open(open);
    }
}

impl PlacesState {
    /// Closes the longest idle connection, of one client if it is given. Returns whether there was one.
    fn make_room(&mut self, client: Option<Client>, now: Instant) -> bool {
        let searched_at = match client {
            Some(client) => &mut self.clients.entry(client).or_default().searched_at,
            None => &mut self.searched_at,
        };
        if self.closing >= CLOSING_MAX || searched_at.is_some_and(|at| now < at + SEARCH_PAUSE) {
            return false;
        }
        let regular = self.taken.iter_mut().filter(|(_, occupant)| {
            occupant.kind == Kind::Regular && client.is_none_or(|client| occupant.client == client)
        });
        let idle = regular.filter_map(|(_, occupant)| {
            let (standing, since) = occupant.timer.standing()?;
            (since + IDLE_TIME_MIN <= now).then_some(((standing, since), occupant))
        });
        let Some((_, occupant)) = idle.min_by_key(|(order, _)| *order) else {
            *searched_at = Some(now);
            return false;
        };
        occupant.kind = Kind::Closing;
        occupant.timer.evict();
        let client = occupant.client;
        self.count(client, Kind::Regular, -1);
        self.count(client, Kind::Closing, 1);
        true
    }

    /// Returns whether a client may have a reserved place: it gets at most three quarters of them.
    fn has_reserved_place(&self, client: Client, most: usize) -> bool {
        let own = self.clients.get(&client).map_or(0, |share| share.reserved);
        self.reserved < most && own < most - most / 4
    }

    /// Adds `by` connections of a kind.
    fn count(&mut self, client: Client, kind: Kind, by: isize) {
        let share = self.clients.entry(client).or_default();
        match kind {
            Kind::Regular => share.regular = share.regular.saturating_add_signed(by),
            Kind::Reserved => {
                share.reserved = share.reserved.saturating_add_signed(by);
                self.reserved = self.reserved.saturating_add_signed(by);
            }
            Kind::Closing => self.closing = self.closing.saturating_add_signed(by),
        }
        if share.regular == 0 && share.reserved == 0 {
            self.clients.remove(&client);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state();
        if let Some(Occupant { client, kind, .. }) = state.taken.remove(&self.id) {
            state.count(client, kind, -1);
        }
        self.places.publish(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(limits: Transport) -> Arc<Places> {
        Places::new(Arc::new(limits), Arc::default())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_ipv6_network_and_a_mapped_address_are_one_client() {
        let client = |text| Client::of(address(text));
        assert_eq!(client("2001:db8:1:2:3::4"), client("2001:db8:1:2:5:6:7:8"));
        assert_ne!(client("2001:db8:1:2::"), client("2001:db8:1:3::"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
        assert_ne!(client("10.0.0.1"), client("10.0.0.2"));
    }

    #[test]
    fn room_is_made_by_the_longest_idle_connection() {
        let limits =
            Transport { max_connections: 4, reserved_connections: 0, ..Transport::default() };
        let places = places(limits);
        let admit = |last: u8, now| places.admit(IpAddr::from([10, 0, 0, last]), now);
        let now = Instant::now();
        let [busy, idle, silent, in_head] =
            [1, 2, 3, 4].map(|last| admit(last, now).expect("room"));
        let request = busy.timer.begin_request();
        in_head.timer.record_read(b"GET");
        drop(idle.timer.begin_request());
        assert!(admit(5, now).is_none(), "all have begun just now");
        let later = Instant::now() + IDLE_TIME_MIN;
        let mut closed = Vec::new();
        let mut admitted = Vec::new();
        while let Some(place) = admit(5, later) {
            // The newcomer is busy, so that it is not closed.
            admitted.push((place.timer.begin_request(), place));
            let state = places.state();
            let closing = |id: &u64| state.taken[id].kind == Kind::Closing && !closed.contains(id);
            let new: Vec<u64> = state.taken.keys().copied().filter(closing).collect();
            closed.extend(new);
        }
        assert_eq!(closed, [idle.id, silent.id, in_head.id]);
        drop((request, admitted, busy, idle, silent, in_head));
        let state = places.state();
        assert_eq!((state.taken.len(), state.closing, state.clients.len()), (0, 0, 0));
    }

    #[test]
    fn a_client_beyond_its_share_closes_its_own_connections_only() {
        let limits = Transport { max_connections: 4, ..Transport::default() };
        let places = places(limits);
        let now = Instant::now();
        let other = places.admit(address("10.0.0.9"), now).expect("room");
        let hoarder = address("10.0.0.1");
        let own = [(); 3].map(|()| places.admit(hoarder, now).expect("room"));
        let fourth = places.admit(hoarder, now).expect("a reserved place");
        assert_eq!(fourth.reserved, Some(Cut::ClientFull));
        drop(fourth);
        let fourth = places.admit(hoarder, Instant::now() + IDLE_TIME_MIN).expect("room");
        assert_eq!(fourth.reserved, None);
        let closing = |place: &Place| places.state().taken[&place.id].kind == Kind::Closing;
        assert!(closing(&own[0]) && !closing(&own[1]) && !closing(&other));
    }

    #[test]
    fn a_client_gets_at_most_three_quarters_of_the_reserve() {
        let limits =
            Transport { max_connections: 1, reserved_connections: 4, ..Transport::default() };
        let places = places(limits);
        let admit = |last: u8| places.admit(IpAddr::from([10, 0, 0, last]), Instant::now());
        let _first = admit(1).expect("room");
        let reserved: Vec<Place> = (0..10).filter_map(|_| admit(2)).collect();
        assert_eq!(reserved.len(), 3);
        assert!(admit(3).is_some_and(|place| place.reserved == Some(Cut::Full)));
    }
}

//! The terms of a request: its deadline, its priority and its client.
//!
//! The time limit is the shortest of `--request-timeout`, the header and the body's field. A request is of
//! [`Priority::Batch`] if its header or its body says so. Its client is its API key, or without keys its address. What
//! follows from them is decided by `admission` and the engine.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use bigbatch_engine::{Flow, Priority, RequestError};
use tokio::time::{Instant, timeout_at};

use crate::error::Refusal;
use crate::keys::Keys;
use crate::wire::fields::{PRIORITIES, TIMEOUTS, TimeoutMs, parse_priority};

/// The header that limits the time until the answer, in milliseconds.
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// The header that has the priority.
pub(crate) const PRIORITY: HeaderName = HeaderName::from_static("x-priority");

/// The address of a client, in the extensions of its requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// The terms of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) flow: Flow,
    /// The limit of the server.
    request_timeout: Duration,
    /// The request's own limit, if it is shorter, and when it ends.
    own: Option<(Duration, Instant)>,
}

/// The terms that the head of a request has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadTerms {
    share: u64,
    timeout: Option<Duration>,
    priority: Priority,
}

impl HeadTerms {
    /// Reads the headers and finds out whose the request is.
    ///
    /// # Errors
    /// A header with an invalid value.
    pub(crate) fn read(parts: &Parts, keys: &Keys) -> Result<HeadTerms, Refusal> {
        let address = parts.extensions.get::<ClientAddress>();
        let share = keys.share(&parts.headers).or(address.map(|address| address.share()));
        let timeout = header(&parts.headers, &TIMEOUT, TIMEOUTS, TimeoutMs::parse)?;
        let priority = header(&parts.headers, &PRIORITY, PRIORITIES, parse_priority)?;
        Ok(HeadTerms {
            share: share.unwrap_or_default(),
            timeout: timeout.map(TimeoutMs::duration),
            priority: priority.unwrap_or_default(),
        })
    }

    /// Adds the fields of the body, to a request that began at `started`.
    pub(crate) fn with_body(
        self,
        timeout: Option<Duration>,
        priority: Option<Priority>,
        started: Instant,
        request_timeout: Duration,
    ) -> Terms {
        let own = self.timeout.into_iter().chain(timeout).min();
        let own = own.filter(|own| *own < request_timeout).map(|own| (own, started + own));
        let priority = self.priority.max(priority.unwrap_or_default());
        Terms { flow: Flow { share: self.share, priority }, request_timeout, own }
    }
}

/// Returns the value of a header that a request may have once.
fn header<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Invalid(format!("the header {name} is there twice; send it once")));
    }
    let text = value.to_str().unwrap_or_default().trim();
    let refuse =
        || Refusal::Invalid(format!("the header {name} is '{text}'; it must be {expected}"));
    parse(text).map(Some).ok_or_else(refuse)
}

impl ClientAddress {
    /// Distinguishes clients as the limit on connections does: an IPv6 /64 is one.
    fn share(self) -> u64 {
        match self.0.to_canonical() {
            // No IPv6 network that is routed begins so.
            IpAddr::V4(address) => u64::MAX - u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        }
    }
}

impl Terms {
    /// Returns the time in which the request has to be answered.
    pub(crate) fn limit(&self) -> Duration {
        match self.own {
            Some((_, deadline)) => deadline.saturating_duration_since(Instant::now()),
            None => self.request_timeout,
        }
    }

    /// Returns the request's own deadline, as the engine takes it.
    pub(crate) fn deadline(&self) -> Option<std::time::Instant> {
        self.own.map(|(_, deadline)| deadline.into_std())
    }

    /// Returns the result of `work`, or a refusal once the request's own deadline has passed: also if the work was done
    /// just then.
    pub(crate) async fn bound<T>(
        &self,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let Some((own, deadline)) = self.own else { return work.await };
        let late = Refusal::DeadlinePassed(format!(
            "no answer within {} ms, the deadline of the request (`timeout_ms` or {TIMEOUT}); try again later",
            own.as_millis()
        ));
        match timeout_at(deadline, work).await {
            Ok(Ok(answer)) if Instant::now() < deadline => Ok(answer),
            Ok(Err(refusal)) if !matches!(refusal, Refusal::DeadlinePassed(_)) => Err(refusal),
            _ => Err(late),
        }
    }

    /// Returns the refusal of a request that the engine predicts to be late: by its own deadline, if it has one.
    pub(crate) fn refuse(&self, error: RequestError) -> Refusal {
        match (error, self.own) {
            (
                RequestError::WaitTooLong { wait, limit }
                | RequestError::TooMuchWork { wait, limit },
                Some((deadline, _)),
            ) => Refusal::DeadlineTooShort { wait, limit, deadline },
            (error, _) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_addresses_and_networks() {
        let share = |text: &str| ClientAddress(text.parse().expect("an address")).share();
        assert_ne!(share("10.0.0.1"), share("10.0.0.2"));
        assert_eq!(share("10.0.0.1"), share("::ffff:10.0.0.1"));
        assert_eq!(share("2001:db8::1"), share("2001:db8::2"));
        assert_ne!(share("2001:db8::1"), share("2001:db8:0:1::1"));
    }
}

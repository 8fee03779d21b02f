//! Fits `--max-connections` to the limit on open files: a connection that is promised can be accepted.

use bigbatch_server::Transport;

/// The reserve is at most this part of the connections that a low limit allows.
const RESERVED_PART: u64 = 4;

/// Lowers the connections, and the reserve with them, to what `limit` files allow beside `others` of another listener;
/// returns a warning if it did. A `chosen` number of connections is not lowered.
///
/// # Errors
/// The limit holds less than the chosen connections need, or not even one.
pub(super) fn fit(
    transport: &mut Transport,
    chosen: bool,
    others: u64,
    limit: Option<u64>,
) -> Result<Option<String>, String> {
    let (connections, reserved) =
        (transport.max_connections as u64, transport.reserved_connections as u64);
    let needed = transport.open_files() + others;
    let Some(limit) = limit.filter(|limit| *limit < needed) else { return Ok(None) };
    let others = needed - connections - reserved;
    let room = limit.saturating_sub(others);
    if chosen {
        return Err(format!(
            "--max-connections {connections} needs {needed} open files, {reserved} of them for \
             --reserved-connections; the limit is {limit} (ulimit -Hn); raise it, or lower these options to {room} \
             together"
        ));
    }
    if room == 0 {
        return Err(format!(
            "the limit on open files is {limit} (ulimit -Hn); the server needs at least {}; raise it",
            others + 1
        ));
    }
    let reserved = reserved.min(room / RESERVED_PART);
    let lowered = room - reserved;
    transport.reserved_connections = reserved as usize;
    transport.max_connections = lowered as usize;
    Ok(Some(format!(
        "the limit on open files is {limit} (ulimit -Hn), and {connections} connections need {needed}: \
         --max-connections is lowered to {lowered}, with --reserved-connections {reserved}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_limit_on_open_files() {
        let default = Transport::default();
        let needed = default.open_files();
        let others = needed - 4096 - 64;
        let fit_to = |limit, chosen| {
            let mut transport = default.clone();
            let warning = fit(&mut transport, chosen, 0, limit)?;
            assert!(limit.is_none_or(|limit| transport.open_files() <= limit));
            Ok((transport.max_connections, transport.reserved_connections, warning))
        };
        assert_eq!(fit_to(None, true), Ok((4096, 64, None)));
        assert_eq!(fit_to(Some(needed), true), Ok((4096, 64, None)));
        let (connections, reserved, warning) = fit_to(Some(needed - 96), false).expect("room");
        assert_eq!((connections, reserved), (4000, 64));
        assert!(warning.expect("it was lowered").contains("lowered to 4000"));
        let refused: String = fit_to(Some(needed - 96), true).expect_err("it was promised");
        assert!(refused.ends_with("lower these options to 4064 together"), "{refused}");
        let (connections, reserved, _) = fit_to(Some(others + 20), false).expect("room");
        assert_eq!((connections, reserved), (15, 5));
        assert_eq!(fit_to(Some(others + 1), false).expect("room for one").0, 1);
        let refused = fit_to(Some(others), false).expect_err("no room");
        assert!(refused.contains(&format!("at least {}", others + 1)), "{refused}");
    }
}

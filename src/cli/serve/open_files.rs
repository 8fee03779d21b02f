//! Fits `--max-connections` to the limit on open files: a connection that is promised can be accepted.

use bigbatch_server::Transport;

/// Returns a warning if the default of `--max-connections` was lowered to what `limit` files allow. A value that
/// was `chosen` is not lowered.
///
/// # Errors
/// The limit holds less than the chosen connections need, or not even one.
pub(super) fn fit(
    transport: &mut Transport,
    chosen: bool,
    limit: Option<u64>,
) -> Result<Option<String>, String> {
    let (needed, connections) = (transport.open_files(), transport.max_connections as u64);
    let Some(limit) = limit.filter(|limit| *limit < needed) else { return Ok(None) };
    let room = connections.saturating_sub(needed - limit);
    if room == 0 {
        let least = needed - connections + 1;
        return Err(format!(
            "the limit on open files is {limit} (ulimit -Hn); a single connection needs {least}; raise it, or \
             lower --reserved-connections"
        ));
    }
    if chosen {
        return Err(format!(
            "--max-connections {connections} needs {needed} open files; the limit is {limit} (ulimit -Hn); raise \
             it, or use --max-connections {room}"
        ));
    }
    transport.max_connections = room as usize;
    Ok(Some(format!(
        "--max-connections is lowered to {room}, because the limit on open files is {limit} (ulimit -Hn) and \
         {connections} connections need {needed}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_limit_on_open_files() {
        let default = Transport::default();
        let needed = default.open_files();
        let fit_to = |limit, chosen| {
            let mut transport = default.clone();
            fit(&mut transport, chosen, limit).map(|warning| (transport.max_connections, warning))
        };
        assert_eq!(fit_to(None, true), Ok((4096, None)));
        assert_eq!(fit_to(Some(needed), true), Ok((4096, None)));
        let (lowered, warning) = fit_to(Some(needed - 96), false).expect("there is room");
        assert_eq!(lowered, 4000);
        assert!(warning.expect("it was lowered").contains("lowered to 4000"));
        let refused = fit_to(Some(needed - 96), true).expect_err("it was promised");
        assert!(refused.ends_with("use --max-connections 4000"), "{refused}");
        let refused = fit_to(Some(needed - 4096), false).expect_err("there is no room");
        assert!(refused.contains("a single connection needs"), "{refused}");
        assert_eq!(fit_to(Some(needed - 4095), false).expect("room for one").0, 1);
    }
}

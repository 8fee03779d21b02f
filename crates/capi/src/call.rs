//! One call from C: nothing leaves it but a value.
//!
//! A panic that crossed the border would end the process, which is the router's. It ends the call.

use bigbatch_engine::catch_panic;

use crate::error::CallError;
use crate::report;

/// Runs the body of an exported function. An error or a panic is reported on standard error, and becomes the value that
/// `failed` makes of it.
pub fn guarded<R>(
    symbol: &'static str,
    body: impl FnOnce() -> Result<R, CallError>,
    failed: impl FnOnce(&CallError) -> R,
) -> R {
    let result = catch_panic(body).unwrap_or_else(|message| Err(CallError::Panic { message }));
    result.unwrap_or_else(|error| {
        report::failure(symbol, &error);
        failed(&error)
    })
}

/// Answers a call that is not served: `failed` is what its type says failure with. The first call of each symbol is
/// reported on standard error.
pub fn unserved<R>(symbol: &'static str, failed: R) -> R {
    report::unserved(symbol);
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_become_the_value_of_failure() {
        let failed = |error: &CallError| error.to_string();
        let null = || Err(CallError::Null { argument: "text" });
        assert_eq!(guarded("f", null, failed), "the argument text is a null pointer");
        let message = guarded("f", || panic!("index 7 of 3"), failed);
        assert_eq!(message, "a defect of bigbatch, please report it: index 7 of 3");
        assert_eq!(guarded("f", || Ok("answer".to_owned()), failed), "answer");
    }
}

//! `--for-model`: whether settings that were measured with one model are used for another.
//!
//! `recommended.toml` names its model as `NAME: SHAPE`, or as `NAME` if it was measured behind a URL. Of a path or a
//! Hub id only the last part counts, since the same model may lie elsewhere on the machine that serves it.

/// Checks that `expected` is a model with one of `names` and with `shape`.
///
/// # Errors
/// One line with both models and the next step if it is another.
pub(super) fn check(expected: &str, names: &[&str], shape: &str) -> Result<(), String> {
    let (name, expected_shape) = match expected.split_once(": ") {
        Some((name, shape)) => (name, Some(shape)),
        None => (expected, None),
    };
    let is_named = names.iter().any(|given| last_part(given) == last_part(name));
    if is_named && expected_shape.is_none_or(|expected| expected == shape) {
        return Ok(());
    }
    let found = format!("{}: {shape}", names.last().unwrap_or(&""));
    Err(format!(
        "--for-model is {expected:?}, but the model to serve is {found:?}: the settings were measured with another \
         model; pass that one as --model, run `bigbatch validate` on this one, or pass --for-model {found:?} to use \
         the settings nevertheless"
    ))
}

/// Returns the part of a path or a Hub id after its last slash.
fn last_part(name: &str) -> &str {
    let name = name.trim_end_matches('/');
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::check;

    const SHAPE: &str = "22 layers of 768, 8192 tokens";

    #[test]
    fn a_model_is_recognised_by_name_and_shape() {
        let names = ["mine", "models/base", "/srv/models/base"];
        for same in
            ["models/base: 22 layers of 768, 8192 tokens", "base", "acme/base", "mine", "./base/"]
        {
            assert_eq!(check(same, &names, SHAPE), Ok(()), "{same}");
        }
        for other in ["models/large", "base: 28 layers of 1024, 8192 tokens", "models", ""] {
            let error = check(other, &names, SHAPE).expect_err(other);
            assert!(
                error.contains(other) && error.contains("/srv/models/base: 22 layers"),
                "{error}"
            );
            assert_eq!(error.lines().count(), 1);
        }
    }
}

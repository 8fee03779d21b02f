//! The first difference between two plans, targets or other values that serialize.

use serde::Serialize;
use serde_json::Value;

/// Most characters of a value in a message.
const SHOWN_MAX: usize = 60;

/// The first field in which two values differ, with both of its values, in words.
pub(crate) fn describe_first_difference<T: Serialize + PartialEq>(
    before: &T,
    now: &T,
) -> Option<String> {
    if before == now {
        return None;
    }
    let (Ok(before), Ok(now)) = (serde_json::to_value(before), serde_json::to_value(now)) else {
        return Some("the two cannot be compared".into());
    };
    let (path, before, now) = first_difference(&before, &now)?;
    Some(format!("{} was {}, now it is {}", path.join("."), abbreviate(before), abbreviate(now)))
}

fn first_difference<'a>(
    before: &'a Value,
    now: &'a Value,
) -> Option<(Vec<String>, &'a Value, &'a Value)> {
    if let (Value::Object(one), Value::Object(other)) = (before, now) {
        let keys = one.keys().chain(other.keys().filter(|&key| !one.contains_key(key)));
        return keys.into_iter().find_map(|key| {
            let (before, now) =
                (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
            let (mut path, before, now) = first_difference(before, now)?;
            path.insert(0, key.clone());
            Some((path, before, now))
        });
    }
    (before != now).then(|| (Vec::new(), before, now))
}

/// A value in a few characters of one line.
fn abbreviate(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if value.is_null() => "not given".into(),
        None => text,
    }
}

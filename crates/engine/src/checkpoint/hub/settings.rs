//! Where the Hub and its cache are, and who asks: options, then the environment as `huggingface_hub` reads it.

use std::path::{Path, PathBuf};

use super::HubOptions;

/// Variables of a token, in the order in which they win. The last is that of text-embeddings-inference.
const TOKEN_VARIABLES: [&str; 3] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_API_TOKEN"];

/// The settings of one run.
pub(super) struct Settings {
    /// Without a slash at its end.
    pub(super) endpoint: String,
    pub(super) cache_dir: PathBuf,
    pub(super) token: Option<Token>,
    /// The variable that forbids the network, if one does.
    pub(super) offline: Option<&'static str>,
}

/// A token and where it was read, which messages name. Not `Debug`, so that it cannot be logged.
pub(super) struct Token {
    pub(super) secret: String,
    pub(super) origin: String,
}

impl Settings {
    /// Reads the environment of this process. `None` if there is no directory for a cache.
    pub(super) fn read(options: &HubOptions) -> Option<Settings> {
        Settings::from_variables(options, |name| std::env::var(name).ok())
    }

    fn from_variables(
        options: &HubOptions,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<Settings> {
        // An empty variable counts as unset.
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let user_home = variable("HOME").map(PathBuf::from).or_else(std::env::home_dir);
        let path = |text: String| match (text.strip_prefix("~/"), &user_home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        };
        let hf_home = variable("HF_HOME").map(path).or_else(|| {
            let cache = variable("XDG_CACHE_HOME").map(path);
            Some(cache.or_else(|| Some(user_home.as_ref()?.join(".cache")))?.join("huggingface"))
        });
        let cache_dir = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
        let option = options.cache_dir.as_ref().map(|dir| path(dir.to_string_lossy().into_owned()));
        let cache_dir = option.or(cache_dir.map(path));
        let named = TOKEN_VARIABLES.iter().find_map(|name| {
            let secret = variable(name)?.trim().to_string();
            Some(Token { secret, origin: name.to_string() })
        });
        let token_file = variable("HF_TOKEN_PATH")
            .map(path)
            .or_else(|| hf_home.as_ref().map(|home| home.join("token")));
        let offline = match variable("HF_HUB_OFFLINE") {
            Some(value) => is_true(&value).then_some("HF_HUB_OFFLINE"),
            None => variable("TRANSFORMERS_OFFLINE")
                .is_some_and(|value| is_true(&value))
                .then_some("TRANSFORMERS_OFFLINE"),
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or("https://huggingface.co".into());
        Some(Settings {
            endpoint: endpoint.trim().trim_end_matches('/').into(),
            cache_dir: cache_dir.or_else(|| Some(hf_home?.join("hub")))?,
            token: named.or_else(|| read_token(&token_file?)),
            offline,
        })
    }
}

/// `huggingface_hub` takes these words, in any case, for true and everything else for false.
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
}

fn read_token(file: &Path) -> Option<Token> {
    let secret = std::fs::read_to_string(file).ok()?.trim().to_string();
    (!secret.is_empty()).then(|| Token { secret, origin: file.display().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        let options = HubOptions::default();
        Settings::from_variables(&options, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_string())
        })
        .expect("there is a home")
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        let mut variables = vec![("HOME", "/h")];
        // Each is stronger than those before it.
        for (variable, value, expected) in [
            ("", "", "/h/.cache/huggingface/hub"),
            ("XDG_CACHE_HOME", "/x", "/x/huggingface/hub"),
            ("HF_HOME", "~/f", "/h/f/hub"),
            ("HUGGINGFACE_HUB_CACHE", "/g", "/g"),
            ("HF_HUB_CACHE", "/c", "/c"),
        ] {
            variables.push((variable, value));
            assert_eq!(read(&variables).cache_dir, Path::new(expected), "{variable}");
        }
        for (given, expected) in [("/o", "/o"), ("~/o", "/c/o")] {
            let options = HubOptions { cache_dir: Some(given.into()), ..HubOptions::default() };
            let settings = Settings::from_variables(&options, |_| Some("/c".into()));
            assert_eq!(settings.expect("a home").cache_dir, Path::new(expected));
        }
    }

    #[test]
    fn a_token_is_taken_from_the_first_variable_that_has_one() {
        let of = |variables: &[(&str, &str)]| {
            let mut all = vec![("HOME", "/nowhere")];
            all.extend(variables);
            read(&all).token.map(|token| (token.secret, token.origin))
        };
        let pair = |secret: &str, origin: &str| Some((secret.to_string(), origin.to_string()));
        assert_eq!(of(&[("HF_API_TOKEN", "c")]), pair("c", "HF_API_TOKEN"));
        assert_eq!(
            of(&[("HF_API_TOKEN", "c"), ("HUGGING_FACE_HUB_TOKEN", "b\n")]),
            pair("b", "HUGGING_FACE_HUB_TOKEN")
        );
        assert_eq!(
            of(&[("HUGGING_FACE_HUB_TOKEN", "b"), ("HF_TOKEN", "a")]),
            pair("a", "HF_TOKEN")
        );
        assert_eq!(of(&[("HF_TOKEN", " ")]), None);
        let file = std::env::temp_dir().join(format!("bigbatch-token-{}", std::process::id()));
        std::fs::write(&file, "d\n").expect("writable");
        let path = file.to_str().expect("UTF-8");
        assert_eq!(of(&[("HF_TOKEN_PATH", path)]), pair("d", path));
        std::fs::remove_file(&file).expect("it is ours");
    }

    #[test]
    fn offline_is_what_huggingface_hub_takes_for_true() {
        assert_eq!(read(&[("HF_HUB_OFFLINE", "True")]).offline, Some("HF_HUB_OFFLINE"));
        assert_eq!(read(&[("TRANSFORMERS_OFFLINE", "1")]).offline, Some("TRANSFORMERS_OFFLINE"));
        for variables in [
            [("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")],
            [("HF_HUB_OFFLINE", "false"), ("TRANSFORMERS_OFFLINE", "")],
        ] {
            assert_eq!(read(&variables).offline, None, "{variables:?}");
        }
    }
}

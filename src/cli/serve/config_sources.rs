//! Merges the sources of `serve`'s options: flags, then environment variables, then `--config`, then defaults.
//!
//! An option that is missing on the command line is looked up in the environment and then in the file; its
//! value is appended to the command line, which clap then parses as if it had been typed. So every source
//! knows every option, under one name and with one syntax. The options themselves are in `args`.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use toml::{Table, Value};

use super::args::Serve;
use crate::cli::Cli;

/// The variable or file key that set an option, by the option's id. Options that are absent are flags or
/// defaults.
type Origins = BTreeMap<String, String>;

/// The matches of `serve` after merging, and where the merged values come from.
struct MergedArgs {
    matches: ArgMatches,
    origins: Origins,
}

/// Environment variables besides `BIGBATCH_*`: those of text-embeddings-inference, and `RUST_LOG`.
const ENVIRONMENT_ALIASES: [(&str, &str); 19] = [
    ("model", "MODEL_ID"),
    ("pooling", "POOLING"),
    ("default_prompt", "DEFAULT_PROMPT"),
    ("default_prompt_name", "DEFAULT_PROMPT_NAME"),
    ("revision", "REVISION"),
    ("huggingface_hub_cache", "HF_HUB_CACHE"),
    ("huggingface_hub_cache", "HUGGINGFACE_HUB_CACHE"),
    ("max_concurrent_requests", "MAX_CONCURRENT_REQUESTS"),
    ("max_batch_tokens", "MAX_BATCH_TOKENS"),
    ("max_client_batch_size", "MAX_CLIENT_BATCH_SIZE"),
    ("payload_limit", "PAYLOAD_LIMIT"),
    ("auto_truncate", "AUTO_TRUNCATE"),
    ("host", "HOSTNAME"),
    ("port", "PORT"),
    ("api_key", "API_KEY"),
    ("dtype", "DTYPE"),
    ("tokenizer_threads", "TOKENIZATION_WORKERS"),
    ("cors_allow_origin", "CORS_ALLOW_ORIGIN"),
    ("log_level", "RUST_LOG"),
];

/// Options that are no keys of the file, and variables only where the code says so: `BIGBATCH_CONFIG`.
const FLAGS_ONLY: [&str; 3] = ["help", "config", "print_config"];

/// The option whose value must not be printed or logged.
const SECRET: &str = "api_key";

/// Variables of text-embeddings-inference that have no effect here. Names that other programs use too, such as
/// `OTLP_ENDPOINT`, are among them: a warning is all that they cause.
const ENVIRONMENT_WITHOUT_EFFECT: [&str; 9] = [
    "DENSE_PATH",
    "DISABLE_SPANS",
    "JSON_OUTPUT",
    "MAX_BATCH_REQUESTS",
    "OTLP_ENDPOINT",
    "OTLP_SERVICE_NAME",
    "PROMETHEUS_PORT",
    "SERVED_MODEL_NAME",
    "UDS_PATH",
];

/// Returns a warning per variable of text-embeddings-inference that is set and has no effect.
fn warnings(variable: impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    let set = |name: &&&str| variable(name).is_some_and(|value| !value.is_empty());
    let warning = |name: &&str| {
        format!(
            "the environment variable {name} of text-embeddings-inference has no effect here (serve --help)"
        )
    };
    ENVIRONMENT_WITHOUT_EFFECT.iter().filter(set).map(warning).collect()
}

/// Parses the command line of this process, which must be one of `serve`, with the environment and the file of
/// `--config`.
///
/// # Errors
/// A value in the environment or the file that cannot be used: one line that names the variable, or the file
/// and the key.
pub(crate) fn parse() -> Result<Serve, Box<dyn Error>> {
    let MergedArgs { matches, origins } =
        merge(std::env::args_os(), |name| std::env::var_os(name))?;
    let mut args = Serve::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    args.effective_config = Some(render(&matches, &origins));
    for warning in warnings(|name| std::env::var_os(name)) {
        // Not the log, which is not set up yet. A broken standard error is no reason to stop.
        let _ = writeln!(std::io::stderr(), "bigbatch: {warning}");
    }
    Ok(args)
}

/// Returns the URL of `/health` where `serve` without flags listens, given the environment of this process.
///
/// # Errors
/// As [`parse`]; port 0.
pub(crate) fn health_url() -> Result<String, Box<dyn Error>> {
    health_url_with(|name| std::env::var_os(name))
}

fn health_url_with(variable: impl Fn(&str) -> Option<OsString>) -> Result<String, Box<dyn Error>> {
    let merged = merge(["bigbatch", "serve"].map(OsString::from), variable)?;
    Ok(Serve::from_arg_matches(&merged.matches)?.listen.health_url()?)
}

/// Merges a command line of `serve` with the other sources. Wrong usage of the command line itself exits the
/// process, as clap does.
fn merge(
    argv: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<MergedArgs, Box<dyn Error>> {
    let mut argv: Vec<OsString> = argv.into_iter().collect();
    let parse = |argv: &[OsString]| {
        let matches = Cli::command().try_get_matches_from(argv);
        let serve = matches.unwrap_or_else(|error| error.exit()).remove_subcommand();
        serve.map(|(_, matches)| matches).unwrap_or_default()
    };
    let flags = &parse(&argv);
    let command = serve_command();
    let mut sources = Sources {
        command: &command,
        flags,
        origins: Origins::new(),
        strongest: Origins::new(),
        added: Vec::new(),
    };
    sources.add_environment(&variable)?;
    let named = variable("BIGBATCH_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = flags.get_one::<PathBuf>("config").cloned().or(named) {
        sources.strongest = sources.origins.clone();
        sources.add_file(&path)?;
    }
    let Sources { origins, added, .. } = sources;
    argv.extend(added);
    Ok(MergedArgs { matches: parse(&argv), origins })
}

/// Renders the options as a file for `--config`, each with its origin in a comment.
fn render(matches: &ArgMatches, origins: &Origins) -> String {
    let mut out = String::from("# bigbatch serve --config FILE\n");
    for id in serve_command().get_arguments().map(|arg| arg.get_id().as_str()) {
        if FLAGS_ONLY.contains(&id) {
            continue;
        }
        let values: Vec<_> = matches.get_raw(id).into_iter().flatten().map(toml_literal).collect();
        let origin = match (origins.get(id), matches.value_source(id)) {
            (Some(origin), _) => origin,
            (None, Some(ValueSource::CommandLine)) => "flag",
            _ => "default",
        };
        out += &match values.as_slice() {
            [] => format!("# {id} is not set\n"),
            _ if id == SECRET => format!("# {id} is set and not shown  # {origin}\n"),
            [one] => format!("{id} = {one}  # {origin}\n"),
            several => format!("{id} = [{}]  # {origin}\n", several.join(", ")),
        };
    }
    out
}

/// Returns the clap definition of `serve`, with the arguments that clap adds.
fn serve_command() -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli.find_subcommand("serve").cloned().unwrap_or_default()
}

/// Renders a value as TOML: integers and booleans bare, anything else as a string.
fn toml_literal(raw: &OsStr) -> String {
    let text = raw.to_string_lossy();
    match text.parse::<i64>().map(|n| n.to_string()) {
        Ok(same) if same == text => same,
        _ if text == "true" || text == "false" => text.into_owned(),
        _ => Value::String(text.into_owned()).to_string(),
    }
}

/// Collects the options that sources other than the command line set.
struct Sources<'a> {
    command: &'a Command,
    flags: &'a ArgMatches,
    origins: Origins,
    /// The origins before the source that is being added.
    strongest: Origins,
    /// Arguments to append to the command line: `--port=8080`.
    added: Vec<OsString>,
}

impl Sources<'_> {
    fn add_environment(
        &mut self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), Box<dyn Error>> {
        for id in self.command.get_arguments().map(|arg| arg.get_id().as_str()) {
            if FLAGS_ONLY.contains(&id) || self.is_set(id) {
                continue;
            }
            let own = format!("BIGBATCH_{}", id.to_ascii_uppercase());
            let others =
                ENVIRONMENT_ALIASES.iter().filter(|(of, _)| *of == id).map(|(_, name)| *name);
            let names = std::iter::once(own.as_str()).chain(others);
            let found = names.filter_map(|name| Some((name, variable(name)?)));
            let mut usable = found.filter(|(name, value)| is_intended(id, name, value));
            if let Some((name, value)) = usable.next() {
                self.add(id, vec![value], &format!("environment variable {name}"))?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Box<dyn Error>> {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("--config: cannot read {name}: {error}"))?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            format!("--config: {name}: {}", error.to_string().trim().replace('\n', " "))
        })?;
        for (key, value) in table {
            let known = self.command.get_arguments().map(|arg| arg.get_id().as_str());
            let id = known
                .filter(|id| !FLAGS_ONLY.contains(id))
                .find(|id| *id == key || (*id == "model" && key == "model_id"))
                .ok_or_else(|| {
                    format!("--config: {name}: unknown key `{key}`; keys are the options of `serve` with _ for -")
                })?
                .to_owned();
            let values = match value {
                Value::Array(values) => {
                    let flags = values.into_iter().map(|value| flag_value(&id, value));
                    flags.collect::<Option<Vec<_>>>()
                }
                value => flag_value(&id, value).map(|value| vec![value]),
            };
            let values = values.ok_or_else(|| {
                format!("--config: {name}: `{key}` must be a string, a number or a boolean")
            })?;
            if !self.is_set(&id) {
                self.add(&id, values, &format!("{name}: key `{key}`"))?;
            }
        }
        Ok(())
    }

    /// Returns whether a stronger source sets the option, or the one that it excludes.
    fn is_set(&self, id: &str) -> bool {
        let by_flag = |id: &str| self.flags.value_source(id) == Some(ValueSource::CommandLine);
        let excluded = match id {
            "default_prompt" => "default_prompt_name",
            "default_prompt_name" => "default_prompt",
            _ => id,
        };
        // Both from one source are for clap to reject.
        let stronger = self.strongest.contains_key(excluded);
        by_flag(id) || by_flag(excluded) || self.origins.contains_key(id) || stronger
    }

    /// Adds the values of an option, unless clap rejects them.
    fn add(&mut self, id: &str, values: Vec<OsString>, origin: &str) -> Result<(), Box<dyn Error>> {
        let flag = id.replace('_', "-");
        let argument = |value: OsString| {
            let mut argument = OsString::from(format!("--{flag}="));
            argument.push(value);
            argument
        };
        let arguments: Vec<OsString> = values.into_iter().map(argument).collect();
        let alone = ["bigbatch".into(), "serve".into()].into_iter().chain(arguments.clone());
        match Cli::command().try_get_matches_from(alone) {
            // An option that it requires may come from another source.
            Err(error) if error.kind() != clap::error::ErrorKind::MissingRequiredArgument => {
                let message = error.to_string();
                let line = message.lines().next().unwrap_or_default();
                let line = line.strip_prefix("error: ").unwrap_or(line);
                // clap's message repeats the value, which must not reach the log.
                let line = if id == SECRET { "the value cannot be used" } else { line };
                return Err(format!("{origin}: {line}").into());
            }
            _ => {}
        }
        self.origins.insert(id.into(), origin.into());
        self.added.extend(arguments);
        Ok(())
    }
}

/// Returns whether a variable is meant for bigbatch, rather than set by software that uses its name otherwise.
fn is_intended(id: &str, name: &str, value: &OsStr) -> bool {
    let text = value.to_string_lossy();
    match name {
        // Container runtimes set it to a host name, which is no address to listen on.
        "HOSTNAME" => text.parse::<IpAddr>().is_ok(),
        // Kubernetes sets it beside a service called `bigbatch`: tcp://10.0.0.7:8080.
        "BIGBATCH_PORT" if text.starts_with("tcp://") => false,
        // An empty variable counts as unset, except for the key: a secret that expanded to nothing must not
        // turn authentication off.
        _ => !value.is_empty() || id == SECRET,
    }
}

/// Renders a TOML scalar as the value of a flag, and a guardrail as an inline table; `None` for other tables, arrays and
/// dates.
fn flag_value(id: &str, value: Value) -> Option<OsString> {
    match value {
        Value::Table(_) if id == "guardrail" => Some(value.to_string().into()),
        Value::String(text) => Some(text.into()),
        Value::Integer(number) => Some(number.to_string().into()),
        Value::Float(number) => Some(number.to_string().into()),
        Value::Boolean(on) => Some(on.to_string().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], variables: &[(&str, &str)]) -> Result<MergedArgs, String> {
        let argv = ["bigbatch", "serve"].iter().chain(args).map(OsString::from);
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        merge(argv, variable).map_err(|error| error.to_string())
    }

    fn values(merged: &MergedArgs, id: &str) -> Vec<String> {
        let raw = merged.matches.get_raw(id).into_iter().flatten();
        raw.map(|value| value.to_string_lossy().into_owned()).collect()
    }

    fn file(name: &str, text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("bigbatch-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("writable");
        path
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let path = file(
            "sources.toml",
            "port = 1\nmax_batch_tokens = 1\nmax_chunks = 1\nmodel = [\"a=x\", \"b=y\"]\n",
        );
        let config = format!("--config={}", path.display());
        let environment =
            [("PORT", "2"), ("BIGBATCH_MAX_BATCH_TOKENS", "2"), ("MAX_BATCH_TOKENS", "3")];
        let merged = read(&[&config, "--port=3"], &environment).expect("reads");
        assert_eq!(values(&merged, "port"), ["3"]);
        assert_eq!(values(&merged, "max_batch_tokens"), ["2"]);
        assert_eq!(values(&merged, "max_chunks"), ["1"]);
        assert_eq!(values(&merged, "model"), ["a=x", "b=y"]);
        assert_eq!(values(&merged, "drain_delay"), ["5"]);
        let named = path.display().to_string();
        let merged = read(&[], &[("BIGBATCH_CONFIG", &named)]).expect("reads");
        assert_eq!(values(&merged, "max_chunks"), ["1"]);
        let prompts = [("DEFAULT_PROMPT_NAME", "query")];
        let merged = read(&["--default-prompt=q: "], &prompts).expect("the flag wins");
        assert_eq!(values(&merged, "default_prompt_name"), [""; 0]);
        let with_model = read(&[&config, "--model=c"], &[]).expect("reads");
        assert_eq!(values(&with_model, "model"), ["c"]);
        std::fs::remove_file(path).expect("it is ours");
    }

    #[test]
    fn variables_without_effect_are_named() {
        let set = |name: &str| ["UDS_PATH", "PORT"].contains(&name).then(|| OsString::from("x"));
        let found = warnings(set);
        assert!(found.len() == 1 && found[0].contains("UDS_PATH"), "{found:?}");
    }

    #[test]
    fn the_printed_config_reads_back() {
        let args =
            ["--port=9", "--auto-truncate", "--api-key=hush", "--model=n=embedded", "--model=b"];
        let merged = read(&args, &[("PAYLOAD_LIMIT", "5MB")]).expect("reads");
        let printed = render(&merged.matches, &merged.origins);
        assert!(printed.contains("port = 9  # flag"), "{printed}");
        assert!(
            printed.contains("payload_limit = \"5MB\"  # environment variable PAYLOAD_LIMIT"),
            "{printed}"
        );
        assert!(!printed.contains("hush"), "{printed}");
        let path = file("printed.toml", &printed);
        let again = read(&[&format!("--config={}", path.display())], &[]).expect("reads");
        for id in ["port", "payload_limit", "auto_truncate", "model", "header_limit"] {
            assert_eq!(values(&again, id), values(&merged, id), "{id}");
        }
        std::fs::remove_file(path).expect("it is ours");
    }

    #[test]
    fn errors_name_the_variable_or_the_key() {
        let error = |text: &str| {
            let path = file("bad.toml", text);
            read(&[&format!("--config={}", path.display())], &[]).err().unwrap_or_default()
        };
        assert!(error("drain_dellay = 5").contains("unknown key `drain_dellay`"));
        assert!(error("print_config = true").contains("unknown key"));
        assert!(
            error("port = \"many\"").contains("key `port`: invalid value 'many'"),
            "{}",
            error("port = \"many\"")
        );
        assert!(error("[port]\na = 1").contains("`port` must be"));
        assert!(error("port = ").contains("bad.toml"));
        let bad = read(&[], &[("MAX_BATCH_TOKENS", "lots")]).err().unwrap_or_default();
        assert!(bad.starts_with("environment variable MAX_BATCH_TOKENS: invalid value"), "{bad}");
    }

    #[test]
    fn the_variables_of_the_hub_win_in_the_order_of_huggingface_hub() {
        let old = ("HUGGINGFACE_HUB_CACHE", "/old");
        let of = |variables: &[_]| {
            values(&read(&[], variables).expect("reads"), "huggingface_hub_cache")
        };
        assert_eq!(of(&[old]), ["/old"]);
        assert_eq!(of(&[old, ("HF_HUB_CACHE", "/new")]), ["/new"]);
        let revision = read(&[], &[("REVISION", "v1")]).expect("reads");
        assert_eq!(values(&revision, "revision"), ["v1"]);
    }

    #[test]
    fn a_kubernetes_service_link_is_not_a_port() {
        let of = |variables: &[_]| values(&read(&[], variables).expect("reads"), "port");
        let link = ("BIGBATCH_PORT", "tcp://10.0.0.7:8080");
        assert_eq!(of(&[link]), ["8080"]);
        assert_eq!(of(&[link, ("PORT", "9")]), ["9"]);
        assert_eq!(of(&[("BIGBATCH_PORT", "9")]), ["9"]);
    }

    #[test]
    fn a_health_check_asks_where_serve_listens() {
        let of = |variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            health_url_with(variable).unwrap_or_else(|error| error.to_string())
        };
        assert_eq!(of(&[]), "http://127.0.0.1:8080/health");
        let everywhere = ("BIGBATCH_HOST", "0.0.0.0");
        assert_eq!(of(&[everywhere, ("PORT", "9")]), "http://127.0.0.1:9/health");
        assert_eq!(of(&[("BIGBATCH_HOST", "::")]), "http://[::1]:8080/health");
        assert_eq!(of(&[("BIGBATCH_HOST", "[fe80::1]")]), "http://[fe80::1]:8080/health");
        assert_eq!(of(&[("BIGBATCH_HOST", "localhost")]), "http://localhost:8080/health");
        let tls = [("BIGBATCH_TLS_CERT", "cert.pem"), ("BIGBATCH_TLS_KEY", "key.pem")];
        assert_eq!(of(&tls), "https://127.0.0.1:8080/health");
        let path = file("health.toml", "port = 7\n");
        let config = path.display().to_string();
        assert_eq!(of(&[("BIGBATCH_CONFIG", &config)]), "http://127.0.0.1:7/health");
        std::fs::remove_file(path).expect("it is ours");
        assert!(of(&[("PORT", "0")]).contains("--url"), "{}", of(&[("PORT", "0")]));
    }

    #[test]
    fn the_hostname_of_a_container_is_not_an_address() {
        let of = |value| values(&read(&[], &[("HOSTNAME", value)]).expect("reads"), "host");
        assert_eq!(of("0.0.0.0"), ["0.0.0.0"]);
        assert_eq!(of("3f2a9c"), ["127.0.0.1"]);
    }
}

//! The errors that stop a validation before or after its load: one line each, which names what is
//! wrong, where, and the next step.
//!
//! A failed request is not an error but a record ([`crate::load::RequestRecord`]). Errors of a target
//! behind a URL are [`crate::system::http::TargetError`].

use std::path::PathBuf;

/// The reason why a validation has no report. Each is a usage or input error (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan's file is missing, unreadable or not UTF-8.
    #[error("cannot read the plan {path}: {source}; give the path of a TOML file, or one of {built_in}", path = path.display())]
    PlanUnreadable {
        /// The plan's file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
        /// The names of the built-in plans.
        built_in: String,
    },
    /// The plan has broken TOML syntax, an unknown key, or a value of the wrong type.
    #[error("{origin}:{line}: {message}")]
    PlanSyntax {
        /// The file, or the name under which the text was given.
        origin: String,
        /// Line of the first fault, from 1.
        line: usize,
        /// The parser's message, on one line.
        message: String,
    },
    /// A value of the plan is out of range or contradicts another.
    #[error("{origin}: {message}")]
    PlanValue {
        /// The file, or the name under which the text was given.
        origin: String,
        /// The key, its value, and what is accepted.
        message: String,
    },
    /// A directory or file of the corpus is missing or unreadable.
    #[error("cannot read the corpus {path}: {source}; give a directory of .txt files", path = path.display())]
    CorpusUnreadable {
        /// The directory or file that could not be read.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The corpus has too few words to cut different prompts from.
    #[error(
        "the corpus {origin} holds {words} words; prompts need at least {needed}: add .txt files to it"
    )]
    CorpusTooSmall {
        /// The corpus as the report names it: its directory, or `embedded`.
        origin: String,
        /// Words in the corpus.
        words: usize,
        /// Fewest words that are accepted.
        needed: usize,
    },
    /// The corpus has no window of this length.
    #[error("cannot cut a prompt of exactly {tokens} tokens: {reason}")]
    PromptLength {
        /// The requested length, special tokens included.
        tokens: usize,
        /// The cause.
        reason: String,
    },
    /// A replay's file is missing, unreadable or not UTF-8.
    #[error("cannot read the replay {path}: {source}; give a file of seconds,tokens lines", path = path.display())]
    TraceUnreadable {
        /// The replay's file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A line of a replay is not `seconds,tokens`, is out of order or out of range.
    #[error("{origin}:{line}: {message}")]
    TraceSyntax {
        /// The file.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// The fault, and what was expected.
        message: String,
    },
    /// A request of a trace is longer than the simulated device takes.
    #[error(
        "{origin}: a request has {tokens} tokens; a batch on the simulated {device} has at most {limit}: remove it"
    )]
    TraceTooLong {
        /// The file.
        origin: String,
        /// Tokens of the request.
        tokens: usize,
        /// The simulated device.
        device: &'static str,
        /// Tokens of a batch at most.
        limit: usize,
    },
    /// A pattern has more requests than a simulation takes.
    #[error(
        "the pattern '{pattern}' has more than {limit} requests; lower --seconds or --load, or raise the times of --costs"
    )]
    TooManyArrivals {
        /// The pattern.
        pattern: &'static str,
        /// Requests at most.
        limit: usize,
    },
    /// The costs of a simulation's batches cannot be used.
    #[error(
        "--costs {given}: {reason}; give BATCH,TOKEN,SQUARE,SEQUENCE in seconds, such as 9e-4,6e-7,5e-11,3e-6, or a JSON file with the four"
    )]
    Costs {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The documents of a mixture of lengths are missing or unreadable.
    #[error("cannot read the documents {path}: {source}; give a directory of .txt files, or a file with one document per line", path = path.display())]
    DocumentsUnreadable {
        /// The directory or file that could not be read.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The documents of a mixture of lengths are all empty, or there are none.
    #[error("{path} holds no document; give a directory of .txt files, or a file with one document per line", path = path.display())]
    DocumentsEmpty {
        /// The directory or file.
        path: PathBuf,
    },
    /// The report's directory cannot be created or written. Checked before any load.
    #[error("cannot write to the output directory {path}: {source}; choose another with --out", path = path.display())]
    OutputDirectory {
        /// The report's directory.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The report's directory holds files of another run. Checked before any load.
    #[error("{path} holds {file} of another run; add --resume to continue that run, --force to overwrite it, or choose another directory with --out", path = path.display())]
    OutputOccupied {
        /// The report's directory.
        path: PathBuf,
        /// The first such file.
        file: &'static str,
    },
    /// The run's journal cannot be read or written.
    #[error("cannot read or write the journal {path}: {source}; free space there, or choose another directory with --out", path = path.display())]
    JournalUnwritable {
        /// The journal's file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The records of finished cells could not be compressed, or not be read again.
    #[error("cannot keep the records of the run: {0}; free memory, or run a shorter plan")]
    Records(std::io::Error),
    /// `--resume` found the journal of a different run.
    #[error("cannot resume from {path}: {reason}; use the same plan and target, or start over without --resume", path = path.display())]
    NotResumable {
        /// The journal's file.
        path: PathBuf,
        /// The first difference between the two runs.
        reason: String,
    },
    /// A file of the report cannot be written after the run.
    #[error("cannot write {path}: {source}; free space there or choose another directory", path = path.display())]
    ReportUnwritable {
        /// The report's file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// An existing report cannot be read.
    #[error("cannot read {path}: {message}; give the directory of a finished report", path = path.display())]
    ReportUnreadable {
        /// The report's file.
        path: PathBuf,
        /// The operating system's or the parser's message.
        message: String,
    },
    /// Preflight found a problem: each with its advice, separated by semicolons.
    #[error("preflight stopped the run: {0}")]
    Preflight(String),
    /// The search for edges could not start its target with the budget of a normal run.
    #[error("the target did not start, so its edges cannot be searched: {0}")]
    EdgeStart(String),
    /// The async runtime that generates the load cannot start its threads.
    #[error("cannot start the load generator's threads: {0}; raise the process's thread limit")]
    Runtime(std::io::Error),
}

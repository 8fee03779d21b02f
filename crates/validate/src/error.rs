//! Everything that can stop a validation before or after the load, each as one line that says what
//! went wrong, where, and what to do about it. A request that fails is not an error: it is a record.

use std::path::PathBuf;

/// Why a validation could not be done. All of them are usage or input errors (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan file could not be read.
    #[error("cannot read the plan {path}: {source}; give the path of a TOML plan", path = path.display())]
    PlanUnreadable {
        /// The file that was asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The plan is not the TOML that a plan is made of: broken syntax, an unknown key, a wrong type.
    #[error("{origin}:{line}: {message}")]
    PlanSyntax {
        /// The file, or the name under which the text was given.
        origin: String,
        /// Line of the first fault, from 1.
        line: usize,
        /// What was expected.
        message: String,
    },
    /// The plan is well formed but asks for something that makes no sense.
    #[error("{origin}: {message}")]
    PlanValue {
        /// The file, or the name under which the text was given.
        origin: String,
        /// Which key, what is wrong with it, what would be right.
        message: String,
    },
    /// The corpus could not be read.
    #[error("cannot read the corpus {path}: {source}; give a directory of .txt files", path = path.display())]
    CorpusUnreadable {
        /// The directory or file that failed.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The corpus was read but holds too little prose to cut prompts from.
    #[error(
        "the corpus {origin} holds {words} words; prompts need at least {needed}, so add more .txt files"
    )]
    CorpusTooSmall {
        /// Where the prose came from.
        origin: String,
        /// Words found.
        words: usize,
        /// Words needed.
        needed: usize,
    },
    /// No prompt of the wanted length could be cut.
    #[error("cannot cut a prompt of exactly {tokens} tokens: {reason}")]
    PromptLength {
        /// The length that was asked for, special tokens included.
        tokens: usize,
        /// Why not.
        reason: String,
    },
    /// The file of a replay could not be read.
    #[error("cannot read the replay {path}: {source}; give a file of seconds,tokens lines", path = path.display())]
    TraceUnreadable {
        /// The file that was asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line of a replay is not what it should be.
    #[error("{origin}:{line}: {message}")]
    TraceSyntax {
        /// The file.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The documents whose lengths are wanted could not be read.
    #[error("cannot read the documents {path}: {source}; give a directory of .txt files, or a file with a document a line", path = path.display())]
    DocumentsUnreadable {
        /// The directory or file that failed.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There are no documents whose lengths could be taken.
    #[error("{path} holds no document; give a directory of .txt files, or a file with a document a line", path = path.display())]
    DocumentsEmpty {
        /// The directory or file.
        path: PathBuf,
    },
    /// The report directory cannot be created or written; checked before any load runs.
    #[error("cannot write to the output directory {path}: {source}; choose another with --out", path = path.display())]
    OutputDirectory {
        /// The directory that was asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The journal of a run could not be read or written.
    #[error("cannot keep the journal {path}: {source}; free space there or choose another directory with --out", path = path.display())]
    JournalUnwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The journal that is there is of another run.
    #[error("cannot resume from {path}: {reason}; use the same plan and target, or begin anew without --resume", path = path.display())]
    NotResumable {
        /// The file.
        path: PathBuf,
        /// What is different.
        reason: String,
    },
    /// A report file could not be written after the run.
    #[error("cannot write {path}: {source}; free space there or choose another directory", path = path.display())]
    ReportUnwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A report that was written earlier cannot be read.
    #[error("cannot read {path}: {message}; give the directory of a finished report", path = path.display())]
    ReportUnreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The machine cannot do the run.
    #[error("this run would be pointless here: {0}")]
    Preflight(String),
    /// The target whose edge is searched does not start for a normal run.
    #[error("the target does not start: {0}")]
    EdgeStart(String),
    /// The async runtime that drives the load could not be started.
    #[error("cannot start the load generator's threads: {0}; raise the process's thread limit")]
    Runtime(std::io::Error),
}

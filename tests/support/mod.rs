//! Shared by the tests of the program: a scratch directory, small checkpoints, and runs of the built binary
//! with a time limit.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// More than ten times what the slowest command of these tests takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The exit code and the output of a run.
pub(crate) struct RunOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command line of `bigbatch`, its environment and its standard input.
pub(crate) struct Bigbatch {
    command: Command,
    stdin: Vec<u8>,
}

pub(crate) fn bigbatch<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Bigbatch {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bigbatch"));
    // No network, no cached models, and the CPU even if a build with CUDA would find a GPU.
    let no_cache = std::env::temp_dir().join("bigbatch-test-without-a-hub-cache");
    command.args(args).env("HF_HUB_OFFLINE", "1").env("HF_HOME", no_cache);
    command.env("CUDA_VISIBLE_DEVICES", "");
    Bigbatch { command, stdin: Vec::new() }
}

impl Bigbatch {
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    // Unused in one of the test binaries that include this file.
    #[allow(dead_code)]
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    // Unused in one of the test binaries that include this file.
    #[allow(dead_code)]
    pub(crate) fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Runs the program to its end; at the time limit, kills it and fails the test.
    pub(crate) fn run(self) -> RunOutput {
        self.run_with(Stdio::piped())
    }

    /// As [`Bigbatch::run`], with another standard output. [`RunOutput::stdout`] is empty unless that is a pipe.
    pub(crate) fn run_with(self, stdout: Stdio) -> RunOutput {
        let Bigbatch { mut command, stdin } = self;
        command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut input = child.stdin.take().expect("piped");
        // A program that rejects its input early closes the pipe, which is no failure of the test.
        thread::spawn(move || input.write_all(&stdin).ok());
        let out = collect(child.stdout.take());
        let err = collect(child.stderr.take());
        let (Ok(stdout), Ok(stderr)) = (out.recv_timeout(TIME_LIMIT), err.recv_timeout(TIME_LIMIT))
        else {
            child.kill().expect("it is ours");
            panic!("{command:?} did not end within {TIME_LIMIT:?}");
        };
        let code = child.wait().expect("it ended").code();
        RunOutput { code, stdout, stderr }
    }

    /// Runs the program, asserts exit code 0 and returns its standard output.
    pub(crate) fn output(self) -> String {
        let RunOutput { code, stdout, stderr } = self.run();
        assert_eq!(code, Some(0), "standard error: {stderr}");
        stdout
    }
}

/// Returns the commands that `--help` lists.
// Unused in one of the test binaries that include this file.
#[allow(dead_code)]
pub(crate) fn commands() -> Vec<String> {
    let help = bigbatch(["--help"]).output();
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let list = list.expect("the help lists commands").lines();
    list.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        sender.send(String::from_utf8_lossy(&bytes).into_owned()).ok();
    });
    receiver
}

/// A temporary directory, removed on drop.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bigbatch-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("the temporary directory is writable");
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the scratch directory is writable");
        path
    }

    /// Writes a small checkpoint with random weights; `options` are those of `model init`.
    pub(crate) fn checkpoint(&self, name: &str, options: &[&str]) -> PathBuf {
        let dir = self.path(name);
        let init = ["model", "init", "--preset", "random"].map(OsStr::new);
        let options = options.iter().map(OsStr::new);
        bigbatch(init.into_iter().chain(options).chain([dir.as_os_str()])).output();
        dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // At worst the directory is left behind; a panic here would hide the failure of the test.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Returns a path as text. Scratch paths are UTF-8.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("scratch paths are UTF-8")
}

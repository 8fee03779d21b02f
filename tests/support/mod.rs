//! What the tests of the program share: a scratch directory, small checkpoints, and a run of the built
//! binary that cannot hang.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// No command of these tests takes a tenth of this, even on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What a run of the program left behind.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// One call of `bigbatch`.
pub(crate) struct Bigbatch {
    command: Command,
    stdin: Vec<u8>,
}

pub(crate) fn bigbatch<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Bigbatch {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bigbatch"));
    // No network, no model of the user's, and the CPU also where a build with CUDA would find a GPU.
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

    // One of the binaries that include it has no use for it.
    #[allow(dead_code)]
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end; kills it and fails the test at the time limit.
    pub(crate) fn run(self) -> Done {
        self.run_with(Stdio::piped())
    }

    /// As [`Bigbatch::run`]; whatever goes elsewhere than to a pipe isn't in [`Done::stdout`].
    pub(crate) fn run_with(self, stdout: Stdio) -> Done {
        let Bigbatch { mut command, stdin } = self;
        command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut input = child.stdin.take().expect("piped");
        // A program that refuses its input early closes the pipe: no fault of the test.
        thread::spawn(move || input.write_all(&stdin).ok());
        let out = collect(child.stdout.take());
        let err = collect(child.stderr.take());
        let (Ok(stdout), Ok(stderr)) = (out.recv_timeout(TIME_LIMIT), err.recv_timeout(TIME_LIMIT))
        else {
            child.kill().expect("it is ours");
            panic!("{command:?} did not end within {TIME_LIMIT:?}");
        };
        let code = child.wait().expect("it ended").code();
        Done { code, stdout, stderr }
    }

    /// Runs it, expects exit code 0 and returns its standard output.
    pub(crate) fn output(self) -> String {
        let Done { code, stdout, stderr } = self.run();
        assert_eq!(code, Some(0), "standard error: {stderr}");
        stdout
    }
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

/// A directory of one test, removed with it.
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

    /// A small checkpoint of random weights; `options` are those of `model init`.
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
        // Left over at worst in the temporary directory; a panic here would hide the test's own.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Paths are made by these tests and hence UTF-8.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("scratch paths are UTF-8")
}

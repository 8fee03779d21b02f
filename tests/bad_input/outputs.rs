//! Standard output and standard error that are closed or full.

use std::fs::OpenOptions;
use std::io::pipe;
use std::process::{Command, Stdio};

use crate::support::{RunOutput, Scratch, bigbatch, text};

/// Returns commands that print to standard output, each with little work.
fn commands() -> (Scratch, Vec<Vec<String>>) {
    let scratch = Scratch::new();
    let plan = "name = \"one\"\ntokens = [16]\nconcurrency = [1]\nrepeat_first = false\n\
                [cell]\nrequests_min = 1\nrequests_per_client = 1\nbatches_min = 0\n";
    let (plan, out) = (scratch.file("plan.toml", plan), scratch.path("out"));
    let init = scratch.path("new");
    let commands: [&[&str]; 7] = [
        &["embed", "--json", "x"],
        &["model", "list"],
        &["model", "inspect", "embedded"],
        &["model", "init", "--preset", "random", text(&init)],
        &["doctor"],
        &["bench", "forward", "--cells", "1x16", "--repeats", "1"],
        &["validate", "--plan", text(&plan), "--out", text(&out)],
    ];
    let owned = |args: &&[&str]| args.iter().map(|arg| arg.to_string()).collect();
    let commands = commands.iter().map(owned).collect();
    (scratch, commands)
}

#[test]
fn a_closed_pipe_is_no_error() {
    let (_scratch, commands) = commands();
    for args in commands {
        let (reader, writer) = pipe().expect("the system has pipes");
        drop(reader);
        let RunOutput { code, stderr, .. } = bigbatch(&args).run_with(Stdio::from(writer));
        assert!(code == Some(0) && !stderr.contains("panicked"), "{args:?}: {code:?} {stderr}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_of_one_line() {
    let (_scratch, commands) = commands();
    for args in commands {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let RunOutput { code, stderr, .. } = bigbatch(&args).run_with(Stdio::from(full));
        let last = stderr.lines().last().unwrap_or_default();
        let clear = last.starts_with("bigbatch: ") && !stderr.contains("panicked");
        assert!(code == Some(2) && clear, "{args:?}: {code:?} {stderr}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_output_file_is_an_error_that_names_it() {
    for format in ["jsonl", "csv"] {
        let args = ["embed", "--output", "/dev/full", "--output-format", format, "x"];
        let RunOutput { code, stderr, .. } = bigbatch(args).run();
        let clear = stderr.starts_with("bigbatch: cannot write /dev/full: ");
        assert!(!stderr.contains("--resume"), "a device is not resumed: {stderr}");
        assert!(code == Some(2) && clear && stderr.lines().count() == 1, "{code:?} {stderr}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn answers_before_a_row_that_ends_the_job_are_not_lost_without_an_error() {
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let run = |options: &[&str]| {
        let run = bigbatch([&["embed", "--on-error", "stop"], options].concat());
        run.stdin("one\n\n").run_with(Stdio::from(full()))
    };
    for options in [&["--json"][..], &["--output", "/dev/full", "--output-format", "jsonl"]] {
        let RunOutput { code, stderr, .. } = run(options);
        let clear = stderr.contains("No space left") && stderr.lines().count() == 1;
        assert!(code == Some(2) && clear, "{options:?}: {code:?} {stderr}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_standard_error_changes_no_exit_code() {
    for (args, expected) in [
        (
            &["classify", "--truncate", "--max-seq-length", "4", "a text of more than four tokens"]
                [..],
            0,
        ),
        (&["classify", "--model", "/absent", "x"], 2),
        (&["serve", "--model", "/absent", "--port", "0"], 2),
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let mut command = Command::new(env!("CARGO_BIN_EXE_bigbatch"));
        command.args(args).stdout(Stdio::null()).stderr(full);
        let status = command.status().expect("the program starts");
        assert_eq!(status.code(), Some(expected), "{args:?}");
    }
}

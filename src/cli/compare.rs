//! `compare`: whether the second system is slower than the first, from repeated runs of both. Exit code 0:
//! no regression is shown, 1: one is, 2: the two cannot be compared.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bigbatch_validate::report::{comparison, json};
use bigbatch_validate::results::compare::{Compared, compare as compared};
use bigbatch_validate::{Error, Results};
use clap::Args;

use super::{Outcome, say};

/// Arguments of `compare`.
#[derive(Args)]
pub(crate) struct Compare {
    /// Results of the first system: results.json or its directory; several with commas between them
    #[arg(value_name = "BEFORE", value_delimiter = ',', num_args = 1, required = true)]
    before: Vec<PathBuf>,
    /// Results of the second, in the same way
    #[arg(value_name = "AFTER", value_delimiter = ',', num_args = 1, required = true)]
    after: Vec<PathBuf>,
    /// Slowdown that is tolerated
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = margin)]
    margin: f64,
    /// Exit with 1 also if no regression is shown to be absent
    #[arg(long)]
    strict: bool,
    /// Compare although the device, the processor or the plan differ
    #[arg(long)]
    anyway: bool,
}

fn margin(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim_end().parse::<f64>() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("give a percentage from 0 to below 100, such as 2%".into()),
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Results>, Error> {
    let file = |path: &Path| if path.is_dir() { path.join(json::RESULTS) } else { path.to_owned() };
    paths.iter().map(|path| json::read_results(&file(path))).collect()
}

pub(crate) fn compare(args: Compare) -> Outcome {
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    let (before, after): (Vec<&Results>, Vec<&Results>) =
        (before.iter().collect(), after.iter().collect());
    let found = compared(&before, &after, args.margin);
    if !args.anyway && !found.differences.is_empty() {
        let differences = found.differences.join("; ");
        return Err(format!("{differences}; give --anyway to compare all the same").into());
    }
    if found.changes.is_empty() {
        return Err(
            "the two have no cell in common that was run on both sides; compare runs of one plan"
                .into(),
        );
    }
    say!("{}", comparison::render(&found).trim_end());
    let failed = match found.outcome {
        Compared::Regression => true,
        Compared::Inconclusive => args.strict,
        Compared::NonInferior => false,
    };
    Ok(ExitCode::from(u8::from(failed)))
}

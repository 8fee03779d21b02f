//! Batches before the first request, so that the times of the first ones can be predicted, and the cost model on disk.
//!
//! One file per model, device and element type under `$XDG_CACHE_HOME/bigbatch/costs` (or `~/.cache/bigbatch/costs`). It
//! holds sums of times, in JSON. A file that cannot be read or is damaged acts as a missing one, and one that cannot be written
//! is not: both cost a start its knowledge of long batches until it has run some.

use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Engine;
use super::request::Request;
use crate::batch::cost::CostRecord;
use crate::batch::size::BatchSize;
use crate::error::RequestError;
use crate::task::Task;
use crate::text::input::{Input, Truncate};

/// Sequences of a batch, and the tokens of each.
const SHAPES: [(usize, usize); 10] = [
    (1, 16),
    (1, 128),
    (16, 16),
    (1, 512),
    (1, 1024),
    (8, 256),
    (1, 4096),
    (16, 1024),
    (1, 16_384),
    (1, 32_768),
];

/// Of the shapes, those that run even if an earlier start has left a record: they show whether it is still right.
const SHAPES_WITH_RECORD: usize = 4;

impl Engine {
    /// Runs batches of growing size until they take longer than `limit` together, at least one, and predicts waits from then on.
    /// Starts from what an earlier engine of this model on this device has left on disk, and leaves the same when it is dropped.
    ///
    /// # Errors
    /// Those of the requests that it submits: the device does not work.
    pub fn warm_up(&self, limit: Duration) -> Result<(), RequestError> {
        let cache = self.shared.cost_file.get_or_init(|| self.cost_file());
        let record = cache.as_deref().and_then(read);
        let known = record.is_some_and(|record| self.shared.fit().import(record));
        let started = Instant::now();
        let shapes = if known { &SHAPES[..SHAPES_WITH_RECORD] } else { &SHAPES[..] };
        for (index, &(sequences, tokens)) in shapes.iter().enumerate() {
            let tokens = tokens.min(self.max_tokens());
            let size = BatchSize::of(std::iter::repeat_n(tokens, sequences));
            let predicted = self.shared.cost_model().predict(size);
            let left = limit.saturating_sub(started.elapsed()).as_secs_f64();
            // The first of a size may load code.
            if index > 0 && 2.0 * predicted > left {
                break;
            }
            for _ in 0..2 {
                self.run_together(sequences, tokens)?;
            }
        }
        self.shared.backlog.assume_predicted_times();
        self.save_costs();
        Ok(())
    }

    fn run_together(&self, sequences: usize, tokens: usize) -> Result<(), RequestError> {
        let model = self.model();
        let special = model.tokenizer.frame_tokens();
        let ids = vec![0; tokens.saturating_sub(special).max(1)];
        let task = Task::default_for(&model.config.head);
        let mut pending = Vec::new();
        for _ in 0..sequences.min(self.max_concurrent_requests()) {
            let request = Request::new(Input::Ids(ids.clone()), task.clone(), Truncate::No);
            pending.push(self.submit(request)?);
        }
        pending.into_iter().try_for_each(|pending| pending.wait().map(drop))
    }

    /// Writes the record of batches for the next start, if [`Engine::warm_up`] asked for one.
    pub(super) fn save_costs(&self) {
        if let Some(Some(path)) = self.shared.cost_file.get() {
            let record = self.shared.fit().export();
            if let Err(error) = write(path, &record) {
                let path = path.display();
                tracing::debug!(%path, %error, "the times of batches are not kept for the next start");
            }
        }
    }

    /// Returns the path of the file of this model on this device; `None` where no folder is known.
    fn cost_file(&self) -> Option<PathBuf> {
        let absolute = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute())
        };
        let base =
            absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|h| h.join(".cache")))?;
        let (model, device) = (self.model(), self.device());
        let what = format!(
            "{}\n{:?}\n{}\n{}\n{}",
            model.name,
            model.config,
            device.name,
            device.dtype,
            env!("CARGO_PKG_VERSION")
        );
        let mut hash = std::hash::DefaultHasher::new();
        hash.write(what.as_bytes());
        Some(base.join("bigbatch").join("costs").join(format!("{:016x}.json", hash.finish())))
    }
}

fn read(path: &Path) -> Option<CostRecord> {
    // A pipe or a device in its place may never end.
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes the file so that a reader finds all of it or the one before.
fn write(path: &Path, record: &CostRecord) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = std::fs::write(&temporary, serde_json::to_vec(record)?)
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::cost::{CostFit, CostModel};

    #[test]
    fn a_file_is_read_as_it_was_written_and_a_damaged_one_is_not() {
        let folder = std::env::temp_dir().join(format!("bigbatch-costs-{}", std::process::id()));
        let path = folder.join("costs").join("a.json");
        assert_eq!(read(&path), None);
        let mut fit = CostFit::new(CostModel { token_seconds: 1e-6, ..CostModel::default() });
        fit.record(BatchSize::of([100]), 1e-3);
        write(&path, &fit.export()).expect("is written");
        assert_eq!(read(&path), Some(fit.export()));
        let files = std::fs::read_dir(folder.join("costs")).expect("is there").count();
        assert_eq!(files, 1, "nothing else is left");
        std::fs::write(&path, b"{\"batches\"").expect("is written");
        assert_eq!(read(&path), None);
        std::fs::remove_dir_all(&folder).expect("is removed");
    }
}

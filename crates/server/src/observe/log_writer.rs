//! The writer behind the log: lines enter a bounded buffer, and a thread of its own writes them out.
//!
//! A log fails in two ways: writes return errors (a full disk, a closed pipe), or they block (a reader that has
//! stopped). Neither may delay or lose an answer, so lines that do not fit the buffer and lines that cannot be
//! written are dropped and counted, and later lines are tried again. Format and level are the program's choice;
//! how many lines refusals get is in `log_rate`.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A writer that takes one line per call and never blocks or fails. Clones share the buffer.
#[derive(Debug, Clone)]
pub struct LogWriter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    buffer: Mutex<Buffer>,
    /// Notified when lines are waiting, and when a batch has been written.
    changed: Condvar,
    limit_bytes: usize,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Buffer {
    waiting: Batch,
    /// Bytes that the thread has taken and not yet written.
    in_write_bytes: usize,
}

/// Lines end to end.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The end of each line in `bytes`.
    ends: Vec<usize>,
}

impl LogWriter {
    /// Starts the thread that writes to `out`; it lives as long as the process. At most `limit_bytes` of lines
    /// wait for it.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(out: impl Write + Send + 'static, limit_bytes: usize) -> io::Result<LogWriter> {
        let shared = Arc::new(Shared {
            buffer: Mutex::default(),
            changed: Condvar::new(),
            limit_bytes,
            dropped: AtomicU64::new(0),
        });
        let writing = shared.clone();
        thread::Builder::new().name("log".into()).spawn(move || writing.write_batches(out))?;
        Ok(LogWriter { shared })
    }

    /// Returns the number of lines dropped so far: the buffer was full, or a write failed.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Blocks until all lines are written or dropped, or for `limit` if the reader has stopped.
    pub fn drain(&self, limit: Duration) {
        let busy = |buffer: &mut Buffer| buffer.in_write_bytes + buffer.waiting.bytes.len() > 0;
        let buffer = self.shared.lock();
        let _ = self.shared.changed.wait_timeout_while(buffer, limit, busy);
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut buffer = self.shared.lock();
        let held = buffer.in_write_bytes + buffer.waiting.bytes.len();
        if held + line.len() > self.shared.limit_bytes {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            buffer.waiting.push(line);
            drop(buffer);
            self.shared.changed.notify_all();
        }
        Ok(line.len())
    }

    /// Does nothing: [`LogWriter::drain`] waits for the thread.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes batches for ever. After lines were dropped, the first batch that is written is followed by their
    /// number.
    fn write_batches(&self, mut out: impl Write) {
        let (mut torn, mut reported) = (false, 0);
        loop {
            let batch = self.take();
            let lost = batch.write(&mut out, &mut torn);
            let dropped = self.dropped.fetch_add(lost, Ordering::Relaxed) + lost;
            self.lock().in_write_bytes = 0;
            self.changed.notify_all();
            if lost == 0 && dropped > reported {
                let lines = dropped - reported;
                reported = dropped;
                tracing::warn!(
                    lines,
                    "log lines were dropped: they could not be written, or not fast enough \
                     (bigbatch_log_dropped_total, --log-buffer)"
                );
            }
        }
    }

    /// Waits for lines and takes all of them.
    fn take(&self) -> Batch {
        let idle = |buffer: &mut Buffer| buffer.waiting.ends.is_empty();
        let waited = self.changed.wait_while(self.lock(), idle);
        let mut buffer = waited.unwrap_or_else(PoisonError::into_inner);
        buffer.in_write_bytes = buffer.waiting.bytes.len();
        std::mem::take(&mut buffer.waiting)
    }
}

impl Batch {
    fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    /// Writes the lines and returns how many were lost to an error. `torn`: whether the last byte that `out` took
    /// was in the middle of a line, which the next batch then ends.
    fn write(&self, out: &mut impl Write, torn: &mut bool) -> u64 {
        if *torn && out.write_all(b"\n").is_err() {
            return self.ends.len() as u64;
        }
        *torn = false;
        let mut written = 0;
        while written < self.bytes.len() {
            match out.write(&self.bytes[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let whole = self.ends.partition_point(|&end| end <= written);
        *torn = written > whole.checked_sub(1).map_or(0, |last| self.ends[last]);
        (self.ends.len() - whole) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// More than any wait of these tests takes.
    const LIMIT: Duration = Duration::from_secs(60);

    /// Takes as many bytes per write as the test allows; 0 is a full disk.
    struct Disk {
        room: Receiver<usize>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.room.recv().map_err(io::Error::other)?.min(bytes.len());
            if room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.taken.send(bytes[..room].to_vec()).expect("the test listens");
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(limit_bytes: usize) -> (LogWriter, Sender<usize>, Receiver<Vec<u8>>) {
        let ((allow, room), (taken, read)) = (channel(), channel());
        let log = LogWriter::start(Disk { room, taken }, limit_bytes).expect("a thread");
        (log, allow, read)
    }

    #[test]
    fn a_writer_that_blocks_costs_lines_and_no_time() {
        let (mut log, allow, read) = log(16);
        // The thread takes the first line and blocks on it; what it holds counts against the limit.
        for _ in 0..10 {
            log.write_all(b"1234567\n").expect("it never fails");
        }
        assert_eq!(log.dropped(), 8);
        log.drain(Duration::ZERO);
        allow.send(1000).expect("the thread lives");
        allow.send(1000).expect("the thread lives");
        log.drain(LIMIT);
        log.write_all(b"later\n").expect("it never fails");
        allow.send(1000).expect("the thread lives");
        log.drain(LIMIT);
        let text: Vec<u8> = read.try_iter().flatten().collect();
        assert_eq!(text, b"1234567\n1234567\nlater\n");
        assert_eq!(log.dropped(), 8);
    }

    #[test]
    fn a_full_disk_drops_lines_until_it_has_room_and_keeps_lines_whole() {
        let (mut log, allow, read) = log(1000);
        let mut write = |line: &[u8], rooms: &[usize]| {
            rooms.iter().for_each(|&room| allow.send(room).expect("the thread lives"));
            log.write_all(line).expect("it never fails");
            log.drain(LIMIT);
            log.dropped()
        };
        assert_eq!(write(b"one\n", &[1000]), 0);
        // Half a line fits.
        assert_eq!(write(b"two\n", &[2, 0]), 1);
        // Not even the end of that half.
        assert_eq!(write(b"three\n", &[0]), 2);
        assert_eq!(write(b"four\n", &[1000, 1000]), 2);
        let text: Vec<u8> = read.try_iter().flatten().collect();
        assert_eq!(String::from_utf8_lossy(&text), "one\ntw\nfour\n");
    }
}

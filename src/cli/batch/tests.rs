//! Readers and writers against each other, and files that were cut anywhere.

use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use bigbatch_engine::{Answer, TaskKind, TextAnswer};

use super::columns::Columns;
use super::input::{InputFormat, Rows, Source, read_rows};
use super::output::{OnError, scan};
use super::render::{Detail, OutputFormat, Renderer};
use super::row::{ErrorKind, Failure, Kept, Row, RowError};

const NOTE: &str = "note";

fn renderer(format: OutputFormat) -> Renderer {
    let kept_names = vec![NOTE.to_owned()];
    let (task, detail) = (TaskKind::Embed, Detail::default());
    Renderer { format, task, in_windows: false, detail, kept_names, on_terminal: false }
}

/// Returns texts of the characters that formats treat specially.
fn notes(random: &mut fastrand::Rng, count: usize) -> Vec<String> {
    let letters: Vec<char> = "a,;\"\"'\n\r\t{}[]:\\ é\u{1b}\u{2028}0".chars().collect();
    let letter = |random: &mut fastrand::Rng| letters[random.usize(..letters.len())];
    (0..count).map(|_| (0..random.usize(1..12)).map(|_| letter(random)).collect()).collect()
}

/// Renders a row per note, some of them with errors that hold the note too.
fn render(renderer: &Renderer, notes: &[String], random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let answer = TextAnswer {
        answer: Answer::Embedding(vec![0.5, -1e-7]),
        tokens: 3,
        truncated: false,
        chunks: None,
    };
    let render = |(index, note): (usize, &String)| {
        let kept = Kept(vec![(Arc::from(NOTE), note.as_str().into())]);
        let row = Row { index, line: Some(index as u64 + 1), kept };
        let error = RowError::new(ErrorKind::Invalid, note.as_str());
        let outcome = if random.bool() { Ok(&answer) } else { Err(&error) };
        let mut rendered = Vec::new();
        renderer.row(&mut rendered, &row, outcome).expect("it is in memory");
        rendered
    };
    notes.iter().enumerate().map(render).collect()
}

/// Returns whether a rendered row has an error. Notes have no letters, so none of them looks like its kind.
fn is_error(row: &[u8]) -> bool {
    let row = String::from_utf8_lossy(row);
    row.ends_with(",invalid\n") || row.ends_with("\"invalid\"}\n")
}

fn source(reader: impl Read + Send + 'static) -> Source {
    Source::new("a file".into(), reader, None)
}

fn columns(text: &str) -> Columns {
    Columns { text: Some(text.to_owned()), ..Columns::default() }
}

/// Reads the texts of a column; `None` for a row without one.
fn read(format: InputFormat, bytes: Vec<u8>, columns: &Columns) -> Vec<Option<String>> {
    let rows = read_rows(source(Cursor::new(bytes)), format, columns, None);
    let Rows { rows, .. } = rows.unwrap_or_else(|error| panic!("{error}"));
    let text = |row| match row {
        Ok((_, text)) => Some(text),
        Err(Failure::Row(..)) => None,
        Err(Failure::Input(error)) => panic!("{error}"),
    };
    rows.map(text).collect()
}

#[test]
fn what_was_written_is_read_as_it_was() {
    let mut random = fastrand::Rng::with_seed(7);
    for (output, input) in
        [(OutputFormat::Csv, InputFormat::Csv), (OutputFormat::Jsonl, InputFormat::Jsonl)]
    {
        for _ in 0..50 {
            let renderer = renderer(output);
            let notes = notes(&mut random, 20);
            let rows = render(&renderer, &notes, &mut random);
            let mut file = renderer.header().expect("it is in memory");
            file.extend(rows.concat());
            let expected: Vec<Option<String>> = notes.into_iter().map(Some).collect();
            assert_eq!(read(input, file, &columns(NOTE)), expected, "{output:?}");
        }
    }
}

#[test]
fn of_a_file_that_was_cut_anywhere_the_whole_rows_are_found() {
    let mut random = fastrand::Rng::with_seed(11);
    for format in [OutputFormat::Csv, OutputFormat::Jsonl] {
        let renderer = renderer(format);
        let notes = notes(&mut random, 12);
        let rows = render(&renderer, &notes, &mut random);
        let header = renderer.header().expect("it is in memory");
        let file = [&header[..], &rows.concat()].concat();
        for cut in 0..=file.len() {
            let found = scan(&file[..cut], format, &header, OnError::Report);
            let found = found.expect("it is in memory").unwrap_or_else(|error| panic!("{error}"));
            let mut whole = if cut < header.len() { 0 } else { header.len() };
            let mut next = 0;
            while cut >= header.len() && next < rows.len() && whole + rows[next].len() <= cut {
                whole += rows[next].len();
                next += 1;
            }
            assert_eq!((found.next, found.whole_bytes), (next, whole as u64), "cut at {cut}");
            let samples = found.samples.iter().map(|(index, bytes)| (*index, &bytes[..]));
            let answers = rows[..next].iter().map(|row| &row[..]).enumerate();
            let mut expected: Vec<(usize, &[u8])> =
                answers.filter(|(_, row)| !is_error(row)).collect();
            expected.drain(
                1.min(expected.len())..expected.len().saturating_sub(1).max(1.min(expected.len())),
            );
            assert_eq!(samples.collect::<Vec<_>>(), expected, "cut at {cut}");
        }
    }
}

#[test]
fn an_output_of_other_options_is_refused() {
    let renderer = renderer(OutputFormat::Jsonl);
    let row = |index, failed: bool| {
        let row = Row { index, line: None, kept: Kept::default() };
        let error = RowError::new(ErrorKind::Empty, "the text is empty");
        let answer = TextAnswer {
            answer: Answer::Embedding(vec![1.0]),
            tokens: 3,
            truncated: false,
            chunks: None,
        };
        let mut line = Vec::new();
        let outcome = if failed { Err(&error) } else { Ok(&answer) };
        renderer.row(&mut line, &row, outcome).expect("it is in memory");
        line
    };
    let refused = |lines: &[Vec<u8>], errors| {
        scan(&lines.concat()[..], OutputFormat::Jsonl, b"", errors).expect("it is in memory").err()
    };
    let (gap, failed) = ([row(0, false), row(2, false)], [row(0, false), row(1, true)]);
    assert_eq!(refused(&gap, OnError::Skip), None);
    assert!(refused(&gap, OnError::Report).is_some_and(|why| why.contains("1 was expected")));
    assert_eq!(refused(&failed, OnError::Report), None);
    for errors in [OnError::Skip, OnError::Stop] {
        assert!(refused(&failed, errors).is_some_and(|why| why.contains("holds an error")));
    }
    let twice = [row(0, false), row(0, false)];
    assert!(refused(&twice, OnError::Skip).is_some());
    for other in ["{\"text\": \"one\"}\n", "one\n", "one", "{\"inde\"", "\n"] {
        assert!(refused(&[other.into()], OnError::Report).is_some(), "{other:?}");
    }
    assert_eq!(refused(&[b"{\"ind".to_vec()], OnError::Report), None, "the start of a row");
}

/// A reader that never ends.
struct Endless {
    start: Cursor<&'static [u8]>,
    again: &'static [u8],
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.start.read(buffer)? {
            0 => {
                self.start = Cursor::new(self.again);
                self.start.read(buffer)
            }
            read => Ok(read),
        }
    }
}

#[test]
fn rows_are_read_as_they_are_needed() {
    for (format, start, again) in [
        (InputFormat::Lines, "", "one\n"),
        (InputFormat::Jsonl, "", "{\"text\": \"one\"}\n\n"),
        (InputFormat::Csv, "id,text\n", "1,\"one\"\n"),
        (InputFormat::Tsv, "id\ttext\r\n", "1\tone\r\n"),
        (InputFormat::Json, "[\"one\"", ", {\"text\": \"one\"}"),
    ] {
        let reader = Endless { start: Cursor::new(start.as_bytes()), again: again.as_bytes() };
        let rows = read_rows(source(reader), format, &Columns::default(), None);
        let Rows { rows, .. } = rows.unwrap_or_else(|error| panic!("{error}"));
        let texts: Vec<String> = rows.take(1000).flatten().map(|(_, text)| text).collect();
        assert!(texts.len() == 1000 && texts.iter().all(|text| text == "one"), "{format:?}");
    }
}

#[test]
fn a_row_without_an_end_is_an_error_and_not_all_memory() {
    for (format, start) in [
        (InputFormat::Lines, "one\n"),
        (InputFormat::Jsonl, "\"one\"\n\""),
        (InputFormat::Csv, "text\none\n\""),
        (InputFormat::Json, "[\"one\", \""),
    ] {
        let reader = Endless { start: Cursor::new(start.as_bytes()), again: &[b'a'; 4096] };
        let rows = read_rows(source(reader), format, &Columns::default(), None);
        let Rows { mut rows, .. } = rows.unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(rows.next(), Some(Ok((_, text))) if text == "one"), "{format:?}");
        let Some(Err(Failure::Input(error))) = rows.next() else { panic!("{format:?}") };
        assert!(error.starts_with("cannot read a file: a row has more than 64 MiB"), "{error}");
    }
}

#[test]
fn bad_rows_of_json_are_errors_in_their_place() {
    let lines = b"{\"text\": \"one\"}\n{\"text\": 2}\n\n[3]\n{\"other\": \"4\"}\n\"five\"\n{\"text\": \"six\n\xff\n";
    let kinds = |bytes: &[u8], format| {
        let rows =
            read_rows(source(Cursor::new(bytes.to_vec())), format, &Columns::default(), None);
        let Rows { rows, .. } = rows.unwrap_or_else(|error| panic!("{error}"));
        let describe = |row| match row {
            Ok((Row { index, line, .. }, text)) => format!("{index} {line:?} {text}"),
            Err(Failure::Row(Row { index, line, .. }, error)) => {
                format!("{index} {line:?} {} {}", error.kind, error.reason)
            }
            Err(Failure::Input(error)) => error,
        };
        rows.map(describe).collect::<Vec<String>>()
    };
    let found = kinds(lines, InputFormat::Jsonl);
    let expected = [
        "0 Some(1) one",
        "1 Some(2) no_text the column 'text' is a number, not a string",
        "2 Some(4) no_text it is an array, not a string or an object",
        "3 Some(5) no_text there is no column 'text'",
        "4 Some(6) five",
        "5 Some(7) not_json the line is not JSON: ",
        "6 Some(8) not_utf8 the text is not valid UTF-8; convert it first",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    let array = kinds(b"[\"one\", 2, {\"text\": \"three\"}, {}] 5", InputFormat::Json);
    let expected = ["0 None one", "1 None no_text", "2 None three", "3 None no_text"];
    for (found, expected) in array.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    let last = array.last().map(String::as_str).unwrap_or_default();
    assert!(
        array.len() == 5 && last.contains("is not a JSON array of strings or objects"),
        "{last}"
    );
}

#[test]
fn endings_of_names_are_formats() {
    for (name, format) in [
        ("a.txt", Some(InputFormat::Lines)),
        ("a.b.JSONL", Some(InputFormat::Jsonl)),
        ("a.ndjson", Some(InputFormat::Jsonl)),
        ("a.csv", Some(InputFormat::Csv)),
        ("a.tsv", Some(InputFormat::Tsv)),
        ("a.json", Some(InputFormat::Json)),
        ("csv", None),
        ("a.csv.gz", None),
    ] {
        assert_eq!(InputFormat::of(Path::new(name)), format, "{name}");
    }
}

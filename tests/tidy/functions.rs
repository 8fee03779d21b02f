//! Functions are short, and public ones that can fail document their errors.
//!
//! Both rules read the text as rustfmt leaves it: a function ends at the first closing brace that is indented as
//! its first line is.

use crate::{File, none, sources};

/// A longer function does more than its name says.
const FUNCTION_LINES: usize = 70;

struct Function {
    /// `path:line: name`.
    place: String,
    /// From `fn` to the opening brace or semicolon, on one line.
    signature: String,
    doc: String,
    lines: usize,
    indent: usize,
}

fn is_function(line: &str) -> bool {
    let words = ["pub", "const", "async", "unsafe", "extern", "fn"];
    let first = line.trim_start().split([' ', '(']).next().unwrap_or_default();
    line.contains("fn ") && words.contains(&first)
}

fn functions(file: &File) -> Vec<Function> {
    let lines: Vec<&str> = file.program().lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
        let indent = line.len() - line.trim_start().len();
        let at_indent = |line: &str, end: &str| {
            line.len() - line.trim_start().len() == indent && line.trim_start().starts_with(end)
        };
        let rest = &lines[first..];
        let whole = |line: &&str| line.ends_with(';') || line.ends_with('{') || line.ends_with('}');
        let head = rest.iter().position(whole).map_or(rest.len(), |end| end + 1);
        let signature = rest[..head].iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let one_line = signature.ends_with(';') || signature.ends_with('}');
        let body = rest.iter().position(|line| at_indent(line, "}")).unwrap_or(rest.len());
        let above = lines[..first].iter().rev();
        let doc = above.take_while(|line| {
            let line = line.trim_start();
            line.starts_with("///") || line.starts_with("#[") || line.starts_with(')')
        });
        found.push(Function {
            place: format!("{}:{}: {}", file.path, first + 1, line.trim()),
            doc: doc.copied().collect::<Vec<_>>().join("\n"),
            lines: if one_line { head } else { body + 1 },
            signature,
            indent,
        });
    }
    found
}

#[test]
fn functions_are_short() {
    let long = |function: &Function| function.lines > FUNCTION_LINES;
    let describe = |function: Function| format!("{} ({} lines)", function.place, function.lines);
    let all = sources();
    let found = all.iter().flat_map(functions).filter(long).map(describe).collect();
    none("split these by what they do", found);
}

#[test]
fn public_functions_document_their_errors() {
    let mut silent = Vec::new();
    for file in sources().iter().filter(|file| file.path.starts_with("crates/")) {
        let fails = |function: &Function| {
            let returned = function.signature.split(" -> ").last().unwrap_or_default();
            let result = returned.starts_with("Result<") || returned.starts_with("io::Result<");
            result && !function.doc.contains("# Errors")
        };
        let of_a_trait = traits(file);
        for function in functions(file).into_iter().filter(fails) {
            let public = function.signature.starts_with("pub ");
            let line: usize =
                function.place.split(':').nth(1).map_or(0, |n| n.parse().unwrap_or(0));
            let in_trait = function.indent == 4 && of_a_trait.iter().any(|t| t.contains(&line));
            if public || in_trait {
                silent.push(function.place);
            }
        }
    }
    none("these need an `# Errors` section", silent);
}

/// The lines of each public trait.
fn traits(file: &File) -> Vec<std::ops::Range<usize>> {
    let lines: Vec<&str> = file.program().lines().collect();
    let begins = |(_, line): &(usize, &&str)| line.starts_with("pub trait ");
    let range = |(first, _): (usize, &&str)| {
        let length = lines[first..].iter().position(|line| *line == "}").unwrap_or(0);
        first + 1..first + 1 + length
    };
    lines.iter().enumerate().filter(begins).map(range).collect()
}

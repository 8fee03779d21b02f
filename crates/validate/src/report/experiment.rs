//! The files of a [`MemoryExperiment`]: `memory.json`; `memory.html`, with its table and its timeline of
//! allocations and frees; and `memory.svg`, the timeline as an image. A report whose directory holds `memory.json`
//! shows the same table and chart.

use std::path::{Path, PathBuf};

use super::OutputDir;
use super::chart;
use super::markup::{Attributes, Markup};
use crate::error::Error;
use bigbatch_allocators::MemoryExperiment;

/// Name of the file with the data.
pub const JSON: &str = "memory.json";
/// Name of the page.
pub const HTML: &str = "memory.html";
/// Name of the image.
pub const SVG: &str = "memory.svg";

/// The page's style of a chart's parts, for an image that has no page around it.
const STYLE: &str = "\
svg { --grid: #e9ecef; --band: #f2f4f6; --soft: #5b6570; --panel: #ffffff; color-scheme: light dark; \
--s0: #1aa07a; --s1: #2b8cbe; --s2: #3b62c9; --s3: #7a4fc2; --s4: #b8408f; --s5: #c96a12; \
font: 11.5px system-ui, sans-serif; } \
@media (prefers-color-scheme: dark) { svg { --grid: #272d33; --band: #1f242a; --soft: #9aa5b0; --panel: #191d21; \
--s0: #45cfa4; --s1: #56b4e6; --s2: #7f9dff; --s3: #b08cf5; --s4: #ec7fc4; --s5: #ffb066; } } \
.paper { fill: var(--panel); } text { fill: var(--soft); } .grid { stroke: var(--grid); } \
.band { fill: transparent; } .band.odd { fill: var(--band); } \
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; } \
.line.dashed { stroke-dasharray: 6 4; } .s0 { color: var(--s0); } .s1 { color: var(--s1); } \
.s2 { color: var(--s2); } .s3 { color: var(--s3); } .s4 { color: var(--s4); } .s5 { color: var(--s5); }";

/// Reads `memory.json`.
///
/// # Errors
///
/// [`Error::ReportUnreadable`] if the file cannot be read or is not an experiment.
pub fn read(path: &Path) -> Result<MemoryExperiment, Error> {
    let text = std::fs::read_to_string(path).map_err(|fault| fault.to_string());
    let found =
        text.and_then(|text| serde_json::from_str(&text).map_err(|fault| fault.to_string()));
    found.map_err(|message| Error::ReportUnreadable { path: path.to_owned(), message })
}

/// Writes the files and returns their paths.
///
/// # Errors
///
/// [`Error::ReportUnwritable`] if a file cannot be written.
pub fn write(experiment: &MemoryExperiment, output: &OutputDir) -> Result<Vec<PathBuf>, Error> {
    let json = output.write(JSON, |out| {
        serde_json::to_writer_pretty(&mut *out, experiment)?;
        out.write_all(b"\n")
    })?;
    let mut written = vec![json, output.write_text(HTML, &super::html::strategies(experiment))?];
    if let Some(svg) = svg(experiment) {
        written.push(output.write_text(SVG, &svg)?);
    }
    Ok(written)
}

/// Renders the timeline as an image with its legend; `None` for an experiment without batches.
pub fn svg(experiment: &MemoryExperiment) -> Option<String> {
    const LINE: f64 = 18.0;
    let (figure, names) = chart::allocations(experiment)?;
    let (width, height) = chart::ALLOCATIONS_SIZE;
    let all = height + LINE * (names.len() as f64 + 1.0);
    let view = format!("0 0 {width} {all}");
    let xmlns = "http://www.w3.org/2000/svg";
    let size: Attributes<'_> =
        &[("xmlns", &xmlns), ("viewBox", &view), ("width", &width), ("height", &all)];
    let mut out = Markup::new();
    out.open("svg", size).open("style", &[]).raw(STYLE).close("style");
    out.empty("rect", &[("class", &"paper"), ("width", &"100%"), ("height", &"100%")]);
    out.open("svg", &[("width", &width), ("height", &height)]).add(figure.svg).close("svg");
    for (index, name) in names.iter().enumerate() {
        let y = height + LINE * (index as f64 + 0.7);
        let class = format!("line {}", chart::series_class(index, names.len()));
        out.segment(&class, (62.0, y - 4.0), (86.0, y - 4.0));
        out.label("", "start", (94.0, y), name);
    }
    out.close("svg");
    Some(out.into_string())
}

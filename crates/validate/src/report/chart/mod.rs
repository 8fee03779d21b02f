//! Charts as inline SVG: no script, no image, colours from the page's style so that they follow the
//! reader's light or dark scheme. Every mark has a `<title>`, which browsers show on hover and
//! screen readers read out.

mod allocations;
mod frame;
mod latency;
mod memory;
mod stages;
mod throughput;

pub(super) use allocations::{SIZE as ALLOCATIONS_SIZE, allocations};
pub(super) use frame::{At, Size};
pub(super) use latency::latencies;
pub(super) use memory::memory;
pub(super) use stages::stages;
pub(super) use throughput::{Rate, throughput};

use super::markup::Markup;

/// Colours that the style defines as `s0`, `s1`, ...; a series beyond them starts over, dashed.
const COLOURS: usize = 6;

/// A chart and the words above it.
pub(super) struct Figure {
    pub(super) title: String,
    pub(super) svg: Markup,
}

/// Class of series number `index` of `of`: spread over the palette, so that an order is seen.
pub(super) fn series_class(index: usize, of: usize) -> String {
    let step = if of <= 1 { 0 } else { index * (COLOURS - 1) / (of.min(COLOURS) - 1).max(1) };
    match of {
        0..=COLOURS => format!("s{}", step.min(COLOURS - 1)),
        _ if index < COLOURS => format!("s{index}"),
        _ => format!("s{} dashed", index % COLOURS),
    }
}

/// A legend: names beside the colours of their series.
pub(super) fn legend(title: &str, names: &[String]) -> Markup {
    let mut out = Markup::new();
    out.open("p", &[("class", &"legend")]).element("span", &[], title);
    for (index, name) in names.iter().enumerate() {
        let class = format!("key {}", series_class(index, names.len()));
        out.open("span", &[]).element("i", &[("class", &class)], "").text(name).close("span");
    }
    out.close("p");
    out
}

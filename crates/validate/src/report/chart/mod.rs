//! Charts as inline SVG: no script, no image file, colours from the page's style so that they follow the
//! reader's light or dark scheme. Every mark has a `<title>`, which browsers show on hover and screen readers
//! read out. Each file draws one kind of chart; `frame` holds the axes and marks they share.

mod allocations;
mod failures;
mod frame;
mod heat;
mod latency;
mod memory;
mod parts;
mod policies;
mod ramp;
mod stages;
mod throughput;

pub(super) use allocations::{SIZE as ALLOCATIONS_SIZE, allocations};
pub(super) use failures::failures;
pub(super) use heat::heat_maps;
pub(super) use latency::{latencies, scenarios};
pub(super) use memory::{in_flight, memory};
pub(super) use parts::{Charts, Figure, series_class};
pub(super) use policies::policies;
pub(super) use ramp::ramps;
pub(super) use stages::stages;
pub(super) use throughput::throughput;

//! Cleanup strategies compared: a section of the report where an experiment lies beside it, and a
//! page of its own.

use crate::report::chart;
use crate::report::markup::Markup;
use crate::report::{tables, words};
use bigbatch_allocators::MemoryExperiment;

use super::write::{end, section, table, wide};
use super::{begin, finish};

/// `memory.html`.
pub(in super::super) fn page(experiment: &MemoryExperiment) -> String {
    let mut out = begin("Cleanup strategies");
    out.raw("<header>\n").element("p", &[("class", &"eyebrow")], "bigbatch bench memory");
    out.element("h1", &[], "Cleanup strategies");
    let facts = [&experiment.model, &experiment.device, &experiment.dtype];
    let facts: Vec<&str> = facts.into_iter().map(String::as_str).collect();
    out.element("p", &[("class", &"facts")], facts.join(" · ")).raw("</header>\n");
    render(&mut out, experiment);
    finish(out)
}

/// The table and the timeline.
pub(super) fn render(out: &mut Markup, experiment: &MemoryExperiment) {
    let lead = words::experiment(experiment);
    section(out, "strategies", "The same traffic through each strategy", &lead);
    table(out, &tables::strategies(experiment));
    if let Some((timeline, names)) = chart::allocations(experiment) {
        out.element("h4", &[], "Allocate and free, operation by operation");
        out.add(chart::legend("", &names));
        wide(out, timeline);
    }
    end(out);
}

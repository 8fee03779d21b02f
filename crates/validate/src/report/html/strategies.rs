//! `memory.html`: cleanup strategies compared, on a page of their own.

use crate::report::sections;
use bigbatch_allocators::MemoryExperiment;

use super::{begin, finish, section};

/// `memory.html`.
pub(in super::super) fn page(experiment: &MemoryExperiment) -> String {
    let mut out = begin("Cleanup strategies");
    out.raw("<header>\n").element("p", &[("class", &"eyebrow")], "bigbatch bench memory");
    out.element("h1", &[], "Cleanup strategies");
    let facts = [&experiment.model, &experiment.device, &experiment.dtype];
    let facts: Vec<&str> = facts.into_iter().map(String::as_str).collect();
    out.element("p", &[("class", &"facts")], facts.join(" · ")).raw("</header>\n");
    sections::strategies(experiment).into_iter().for_each(|one| section(&mut out, one));
    finish(out)
}

//! The pages in a real browser, against a real server: they show what they should, log nothing, violate no policy,
//! and show names and texts that look like markup as text. Skipped with a message without Chromium.

mod browser;
mod modules;
mod server;
mod views;

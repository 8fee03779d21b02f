//! The pages in a real browser, against a real server: they show what they should, log nothing, are forbidden
//! nothing that they need, and take names and texts that look like markup for text. Skipped, and says so, where
//! no Chromium is installed.

mod browser;
mod server;
mod sight;

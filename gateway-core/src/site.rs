//! What a BFF shows to browsers out of its own binary: files that are kept for ever under names that tell their content,
//! and pages under a strict policy. What is in them, who makes them and who may see them is not said here.

mod asset;
mod page;

pub use asset::{Asset, Assets};
pub use page::Page;

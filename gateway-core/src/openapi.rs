//! The description of a BFF's composed routes (OpenAPI 3.1), made from the types of their handlers: what an extractor takes
//! is a parameter or a body, what a handler answers is a schema, failure envelope included. Nothing is written twice.
//!
//! [`Routes::openapi`](crate::route::Routes::openapi) puts the document together and serves it. Passthrough routes are not
//! in it: their services describe themselves.

mod describe;
mod document;
mod examples;
mod page;
mod problems;
mod schemas;
mod served;

pub use describe::{Describe, Described, Operation};
pub use document::Info;
pub(crate) use document::{Documented, answers_in_json_alone, document};
pub use examples::Example;
pub(crate) use page::Page;
pub(crate) use served::Served;

#[cfg(test)]
mod tests;

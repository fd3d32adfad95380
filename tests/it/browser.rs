//! bff-web in a real browser, Chromium: what people do in the storefront (`browser/story.rs`), what pages of other origins can do
//! to somebody who is signed in (nothing: `browser/attacks.rs`), what texts that look like markup do (nothing:
//! `browser/markup.rs`), and the cross-site return from an identity provider elsewhere (`browser/elsewhere.rs`).

mod attacks;
mod elsewhere;
mod markup;
mod story;

//! bff-web in a real browser, Chromium: what pages of other origins can do to somebody who is signed in (nothing:
//! `browser/attacks.rs`), and the cross-site return from an identity provider elsewhere (`browser/elsewhere.rs`).

mod attacks;
mod elsewhere;

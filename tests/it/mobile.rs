//! The app's backend with FTGO's real services behind it: what its screens and actions do is told by scenes from an
//! order's life. Whose things they are is tested in `ownership.rs`, what becomes of failures in `partial_failure.rs`.

mod courier;
mod events;
mod ordering;
mod scene;

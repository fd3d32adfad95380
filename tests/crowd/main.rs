//! Many clients at a time: what they cost is measured in a binary of its own, since cargo runs one after the other, so that
//! neither they disturb the measurements of `../quiet` nor these them.

mod streams;

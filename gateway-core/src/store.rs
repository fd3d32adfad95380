//! Places outside of the process that replicas share. What is kept there, and what holds while they are away, is with who
//! keeps it.

pub(crate) mod redis;

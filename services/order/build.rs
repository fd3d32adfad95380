//! Makes cargo notice a new migration: they are embedded at compile time. Nothing else is built here.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

//! Tells cargo of new migrations: `sqlx::migrate!` sees edits of known files, but not a new file. Nothing is generated.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

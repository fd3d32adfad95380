//! What the kernel says of this process, read from `/proc` when somebody asks. Elsewhere than on Linux there is nothing to
//! read, and these figures are missing.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::family::{
    PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT, PROCESS_START,
    PROCESS_THREADS, PROCESS_VIRTUAL,
};
use super::text::Scrape;

/// `USER_HZ`, in which the kernel tells times to programs: 100 on all of Linux' architectures that Rust's standard
/// library runs on.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn put(scrape: &mut Scrape) {
    if let Some(status) = Status::read() {
        scrape.put(&PROCESS_CPU, &[], status.cpu_seconds);
        scrape.put(&PROCESS_RESIDENT, &[], status.resident_bytes);
        scrape.put(&PROCESS_VIRTUAL, &[], status.virtual_bytes);
        scrape.put(&PROCESS_THREADS, &[], status.threads);
        scrape.put(&PROCESS_START, &[], status.start_seconds);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The listing itself is one of them, but only while it is made.
        scrape.put(
            &PROCESS_OPEN_FDS,
            &[],
            open.count().saturating_sub(1) as f64,
        );
    }
    if let Some(most) = max_fds() {
        scrape.put(&PROCESS_MAX_FDS, &[], most);
    }
}

/// Of this process, since its start.
pub(crate) struct Status {
    pub(crate) cpu_seconds: f64,
    virtual_bytes: f64,
    pub(crate) resident_bytes: f64,
    threads: f64,
    /// Since the Unix epoch.
    start_seconds: f64,
}

impl Status {
    /// How long ago the process started.
    pub(crate) fn age(&self) -> Duration {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Duration::try_from_secs_f64(now.as_secs_f64() - self.start_seconds).unwrap_or_default()
    }

    pub(crate) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name, in which anything may stand; it ends at the last parenthesis.
        let rest = stat.rsplit_once(')')?.1;
        let field = |number: usize| -> Option<f64> {
            // `number` as in proc_pid_stat(5), where the first one of `rest` is 3.
            rest.split_ascii_whitespace().nth(number - 3)?.parse().ok()
        };
        let system = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = system
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .trim()
            .parse()
            .ok()?;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: field(20)?,
            start_seconds: boot + field(22)? / TICKS_PER_SECOND,
            virtual_bytes: field(23)?,
            resident_bytes: resident_bytes()?,
        })
    }
}

/// In bytes, and not in pages, whose size differs between machines.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kibibytes * 1024.0)
}

/// The soft limit: the one that `accept` runs into.
fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

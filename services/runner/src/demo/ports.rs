//! The demo's ports, whether one of 127.0.0.1 is free and, where /proc tells, which process listens on it. What to do about
//! it is `preflight`'s.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// How far the demo's ports are from where they usually are: two demos can run beside one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset(u16);

impl Offset {
    /// With more the last port would be none.
    pub const MOST: u16 = u16::MAX - 9082;

    /// `None` for more than [`Offset::MOST`].
    pub fn new(distance: u16) -> Option<Offset> {
        (distance <= Offset::MOST).then_some(Offset(distance))
    }

    pub(crate) fn distance(self) -> u16 {
        self.0
    }

    /// Where something is that is usually at `port`.
    pub(crate) fn port(self, port: u16) -> u16 {
        port + self.0
    }

    pub(crate) fn url(self, port: u16, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port(port))
    }
}

/// A process that listens where the demo wants to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    pub(crate) process_id: u32,
    pub(crate) command: String,
}

/// # Errors
///
/// Why a listener can't be opened there, most often `AddrInUse`.
pub(crate) fn check_free(port: u16) -> io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

/// The process that listens on `port`, if /proc tells: elsewhere than on Linux, and for other users' processes, it
/// does not.
pub(crate) fn holder(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: HashSet<String> = tables
        .iter()
        .flat_map(|table| listening_inodes(table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let process_id = entry.file_name().to_str()?.parse().ok()?;
        let process = entry.path();
        has_one_open(&process, &sockets).then(|| Holder {
            process_id,
            command: fs::read_to_string(process.join("comm"))
                .map(|name| name.trim().to_owned())
                .unwrap_or_default(),
        })
    })
}

fn has_one_open(process: &Path, sockets: &HashSet<String>) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        fs::read_link(descriptor.path()).is_ok_and(|target| {
            target
                .to_str()
                .is_some_and(|target| sockets.contains(target))
        })
    })
}

/// The inodes of the sockets in a table of proc_net_tcp(5) that listen on `port`.
fn listening_inodes(table: &str, port: u16) -> impl Iterator<Item = &str> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let matches = u16::from_str_radix(local_port, 16) == Ok(port) && state == LISTEN;
        matches.then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::io::ErrorKind;
    use std::net::TcpListener;

    use super::{check_free, holder, listening_inodes};

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 38111 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 38112 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:A3B2 01 00000000:00000000 00:00000000 00000000  1000        0 38113 1 0000000000000000 20 4 30 10 -1
";

    #[test]
    fn only_the_listener_on_that_port_counts() {
        assert_eq!(listening_inodes(TABLE, 8080).collect::<Vec<_>>(), ["38111"]);
        assert_eq!(listening_inodes(TABLE, 8082).count(), 0);
    }

    #[test]
    fn a_port_in_use_is_not_free_and_its_holder_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();

        assert_eq!(check_free(port).unwrap_err().kind(), ErrorKind::AddrInUse);
        if cfg!(target_os = "linux") {
            assert_eq!(holder(port).unwrap().process_id, std::process::id());
        }

        drop(listener);
        check_free(port).unwrap();
    }
}

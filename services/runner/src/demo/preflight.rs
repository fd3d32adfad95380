//! What must be true before anything is started: free ports, built binaries, configuration files. It changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use crate::demo::bff::{Bff, DEMO_CONFIG, Origins};
use crate::demo::ports::{self, Holder, Offset};
use crate::service::Service;

/// What is missing, in one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    #[error("{0}")]
    PortsInUse(String),
    #[error("port {port} can't be opened")]
    Port { port: u16, source: io::Error },
    #[error("{} is missing: build it first (`make demo` does)", .0.display())]
    Binary(PathBuf),
    #[error("{} is missing: run the demo in the project's folder", .0.display())]
    Config(PathBuf),
}

/// The files that the BFFs are started with.
pub(crate) struct Needs {
    bin_dir: PathBuf,
    config_dir: PathBuf,
    origins: Origins,
}

impl Needs {
    /// What tells a BFF where it and everybody else is.
    pub(crate) fn environment(&self, bff: &Bff) -> Vec<(String, String)> {
        let offset = self.offset();
        let at = |port| format!("127.0.0.1:{}", offset.port(port));
        let services = Service::ALL.into_iter().map(|service| {
            let url = offset.url(service.port(), "");
            match service {
                Service::Identity => ("ISSUER".to_owned(), url),
                _ => {
                    let name = service.name().to_uppercase().replace('-', "_");
                    (format!("{name}_URL"), url)
                }
            }
        });
        let own = [
            ("LISTEN".to_owned(), at(bff.port)),
            ("ADMIN_LISTEN".to_owned(), at(bff.admin_port)),
            ("PUBLIC_URL".to_owned(), self.origins.url(*bff, "")),
        ];
        own.into_iter().chain(services).collect()
    }

    pub(crate) fn offset(&self) -> Offset {
        self.origins.offset()
    }

    pub(crate) fn binary(&self, bff: &Bff) -> PathBuf {
        self.bin_dir.join(bff.name)
    }

    /// In the order in which they are merged.
    pub(crate) fn configs(&self, bff: &Bff) -> [PathBuf; 2] {
        [bff.config, DEMO_CONFIG].map(|file| self.config_dir.join(file))
    }
}

pub(crate) fn check(
    bin_dir: &Path,
    config_dir: &Path,
    origins: Origins,
) -> Result<Needs, PreflightError> {
    let needs = Needs {
        bin_dir: bin_dir.to_owned(),
        config_dir: config_dir.to_owned(),
        origins,
    };
    check_ports(origins.offset())?;
    for bff in Bff::ALL {
        let binary = needs.binary(&bff);
        if !binary.is_file() {
            return Err(PreflightError::Binary(binary));
        }
        if let Some(missing) = needs.configs(&bff).into_iter().find(|path| !path.is_file()) {
            return Err(PreflightError::Config(missing));
        }
    }
    Ok(needs)
}

fn check_ports(offset: Offset) -> Result<(), PreflightError> {
    let mut in_use: BTreeMap<Option<Holder>, Vec<u16>> = BTreeMap::new();
    for port in needed_ports().map(|port| offset.port(port)) {
        match ports::check_free(port) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                in_use.entry(ports::holder(port)).or_default().push(port);
            }
            Err(source) => return Err(PreflightError::Port { port, source }),
        }
    }
    if in_use.is_empty() {
        return Ok(());
    }
    Err(PreflightError::PortsInUse(tell(&in_use)))
}

fn needed_ports() -> impl Iterator<Item = u16> {
    let public = Bff::ALL.into_iter().map(|bff| bff.port);
    let admin = Bff::ALL.into_iter().map(|bff| bff.admin_port);
    public.chain(admin).chain(Service::ALL.map(Service::port))
}

fn tell(in_use: &BTreeMap<Option<Holder>, Vec<u16>>) -> String {
    let mut line = String::new();
    let mut process_ids = Vec::new();
    for (holder, ports) in in_use {
        if !line.is_empty() {
            line.push_str(", ");
        }
        let plural = if ports.len() == 1 { "" } else { "s" };
        let ports = ports
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let _ = write!(line, "port{plural} {ports} in use by ");
        match holder {
            Some(Holder {
                process_id,
                command,
            }) => {
                process_ids.push(process_id.to_string());
                let _ = write!(line, "{command} (process {process_id})");
            }
            None => line.push_str("another process"),
        }
    }
    if process_ids.len() == in_use.len() {
        let _ = write!(
            line,
            ": end it (`kill {}`) and try again",
            process_ids.join(" ")
        );
    } else {
        line.push_str(": find it (`ss -ltnp`), end it and try again");
    }
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::tell;
    use crate::demo::ports::Holder;

    #[test]
    fn one_line_names_each_port_its_process_and_the_remedy() {
        let holder = |process_id, command: &str| {
            Some(Holder {
                process_id,
                command: command.to_owned(),
            })
        };
        let known = BTreeMap::from([
            (holder(41, "bff-web"), vec![8080, 9080]),
            (holder(42, "python3"), vec![8101]),
        ]);
        assert_eq!(
            tell(&known),
            "ports 8080, 9080 in use by bff-web (process 41), port 8101 in use by python3 (process 42): \
             end it (`kill 41 42`) and try again"
        );
        assert_eq!(
            tell(&BTreeMap::from([(None, vec![8107])])),
            "port 8107 in use by another process: find it (`ss -ltnp`), end it and try again"
        );
    }
}

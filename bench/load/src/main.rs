//! An open-loop load generator: requests are sent at their appointed times, whatever became of those before, and a latency
//! counts from the appointed time, so that waiting is not hidden (coordinated omission). Closed loops are wrk's.
//!
//! `bench-load ADDRESS REQUESTS RATE SECONDS CONNECTIONS`: REQUESTS is a file of raw requests, each after a line with its
//! length. Prints one line of JSON; latencies in microseconds.
#![expect(
    clippy::disallowed_methods,
    reason = "it measures the time of the wall, on threads that only wait"
)]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// After which an answer is given up.
const PATIENCE: Duration = Duration::from_secs(10);

struct Plan {
    address: String,
    requests: Vec<Vec<u8>>,
    /// Between two requests of one connection.
    period: Duration,
    each: usize,
    connections: usize,
    begin: Instant,
}

#[derive(Default)]
struct Outcome {
    micros: Vec<u64>,
    failed: u64,
}

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, requests, rate, seconds, connections] = arguments.as_slice() else {
        return Err("usage: bench-load ADDRESS REQUESTS RATE SECONDS CONNECTIONS".into());
    };
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let connections: usize = connections.parse()?;
    let period = Duration::try_from_secs_f64(connections as f64 / rate)?;
    let plan = Arc::new(Plan {
        address: address.clone(),
        requests: parse(&std::fs::read(requests)?)?,
        period,
        each: (seconds / period.as_secs_f64()) as usize,
        connections,
        begin: Instant::now() + Duration::from_millis(100),
    });
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let plan = Arc::clone(&plan);
            thread::spawn(move || drive(&plan, number))
        })
        .collect();
    let mut all = Outcome::default();
    for thread in threads {
        let outcome = thread.join().map_err(|_| "a thread panicked")?;
        all.micros.extend(outcome.micros);
        all.failed += outcome.failed;
    }
    all.micros.sort_unstable();
    let at = |share: f64| {
        let index = (all.micros.len() as f64 * share) as usize;
        all.micros
            .get(index.min(all.micros.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    Ok(format!(
        "{{\"requests\":{},\"failed\":{},\"p50_us\":{},\"p90_us\":{},\"p99_us\":{},\"max_us\":{}}}",
        all.micros.len(),
        all.failed,
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    ))
}

fn parse(mut file: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let mut requests = Vec::new();
    while let Some(end) = file.iter().position(|byte| *byte == b'\n') {
        let length: usize = std::str::from_utf8(&file[..end])?.parse()?;
        let request = file
            .get(end + 1..end + 1 + length)
            .ok_or("a request is cut off")?;
        requests.push(request.to_vec());
        file = &file[end + 1 + length..];
    }
    if requests.is_empty() {
        return Err("there are no requests".into());
    }
    Ok(requests)
}

/// One connection's requests, evenly in time; the connections take turns.
fn drive(plan: &Plan, number: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = None;
    let offset = plan.period.mul_f64(number as f64 / plan.connections as f64);
    let mut buffer = vec![0; 64 << 10];
    for turn in 0..plan.each {
        let appointed = plan.begin + offset + plan.period * u32::try_from(turn).unwrap_or(u32::MAX);
        let mut from = appointed;
        if let Some(early) = appointed.checked_duration_since(Instant::now()) {
            thread::sleep(early);
            // That this thread was woken late is not the server's doing.
            from = Instant::now();
        }
        let request = &plan.requests[(turn * plan.connections + number) % plan.requests.len()];
        match exchange(&mut connection, &plan.address, request, &mut buffer) {
            Ok(true) => {
                let took = from.elapsed().as_micros();
                outcome.micros.push(u64::try_from(took).unwrap_or(u64::MAX));
            }
            Ok(false) => outcome.failed += 1,
            Err(_gone) => {
                outcome.failed += 1;
                connection = None;
            }
        }
    }
    outcome
}

/// Whether the answer's status is 200.
fn exchange(
    connection: &mut Option<TcpStream>,
    address: &str,
    request: &[u8],
    buffer: &mut [u8],
) -> io::Result<bool> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            connection.insert(stream)
        }
    };
    stream.write_all(request)?;
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        if let Some(whole) = is_whole(&buffer[..filled]) {
            return Ok(whole && buffer.starts_with(b"HTTP/1.1 200"));
        }
        if filled == buffer.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// `Some(true)` when an answer is there to its end; `Some(false)` when its end cannot be told.
fn is_whole(bytes: &[u8]) -> Option<bool> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = bytes[..end].to_ascii_lowercase();
    let field = |name: &[u8]| {
        let at = head.windows(name.len()).position(|part| part == name)? + name.len();
        let rest = &head[at..];
        let line = rest.iter().position(|byte| *byte == b'\r')?;
        std::str::from_utf8(&rest[..line]).ok().map(str::trim)
    };
    if let Some(length) = field(b"\r\ncontent-length:") {
        return match length.parse::<usize>() {
            Ok(length) => (bytes.len() >= end + length).then_some(true),
            Err(_) => Some(false),
        };
    }
    if field(b"\r\ntransfer-encoding:").is_some() {
        return bytes.ends_with(b"\r\n0\r\n\r\n").then_some(true);
    }
    Some(false)
}

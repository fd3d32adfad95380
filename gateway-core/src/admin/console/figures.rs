//! Numbers as people read them, and the small charts. What they are of is the sections' business.

use std::fmt::{Display, Formatter, Write};
use std::time::Duration;

use super::history::{TICKS, Track};
use crate::html::{Html, html};
use crate::metrics::Counts;

/// Three significant digits and a unit that fits: `0.84 ms`, `12 ms`, `1.20 s`, `3 m 20 s`.
pub(super) struct Took(pub(super) Duration);

impl Display for Took {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let millis = self.0.as_secs_f64() * 1e3;
        match millis {
            0.0..9.995 => write!(f, "{millis:.2} ms"),
            9.995..999.5 => write!(f, "{millis:.0} ms"),
            999.5..59_995.0 => write!(f, "{:.2} s", millis / 1e3),
            _ => Ago(self.0).fmt(f),
        }
    }
}

/// Two units: `12 s`, `3 m 20 s`, `4 h 5 m`, `12 d 3 h`.
pub(super) struct Ago(pub(super) Duration);

impl Display for Ago {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match seconds {
            0..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{minutes} m {} s", seconds % 60),
            3600..86_400 => write!(f, "{hours} h {} m", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

/// A second: `0`, `0.25`, `12.3`, `480`, `12.5k`.
pub(super) struct Rate(pub(super) f64);

impl Display for Rate {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            rate if rate <= 0.0 => f.write_str("0"),
            rate if rate < 0.01 => f.write_str("<0.01"),
            rate if rate < 9.995 => write!(f, "{rate:.2}"),
            rate if rate < 99.95 => write!(f, "{rate:.1}"),
            rate if rate < 9_999.5 => write!(f, "{rate:.0}"),
            rate => write!(f, "{:.1}k", rate / 1e3),
        }
    }
}

/// Of a whole: `0 %`, `0.12 %`, `12 %`.
pub(super) struct Share(pub(super) f64);

impl Display for Share {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.0 * 100.0 {
            percent if percent <= 0.0 => f.write_str("0 %"),
            percent if percent < 0.01 => f.write_str("<0.01 %"),
            percent if percent < 9.995 => write!(f, "{percent:.2} %"),
            percent => write!(f, "{percent:.0} %"),
        }
    }
}

/// `512 B`, `12.3 KiB`, `1.20 MiB`.
pub(super) struct Bytes(pub(super) f64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut size = self.0;
        let mut unit = "B";
        for next in ["KiB", "MiB", "GiB"] {
            if size < 1024.0 {
                break;
            }
            size /= 1024.0;
            unit = next;
        }
        let digits = match size {
            _ if unit == "B" => 0,
            ..9.995 => 2,
            9.995..99.95 => 1,
            _ => 0,
        };
        write!(f, "{size:.digits$} {unit}")
    }
}

/// A whole number, in groups of three.
pub(super) struct Count(pub(super) u64);

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                // A narrow space that does not break.
                f.write_char('\u{202f}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

const BAR: usize = 2;
const HEIGHT: f64 = 20.0;

/// Five minutes of requests: a bar every five seconds, what failed at its foot.
pub(super) fn chart(out: &mut Html, track: &Track) {
    let most = track.ticks().map(|tick| tick.all).max().unwrap_or(0);
    let highest = Rate(most as f64 / super::history::TICK.as_secs_f64());
    html!(out,
        "<svg class=\"chart\" viewBox=\"0 0 " {TICKS * BAR} " " {HEIGHT} "\" preserveAspectRatio=\"none\" role=\"img\">"
        "<title>last five minutes, at most " {highest} " a second</title>"
        "<path class=\"base\" d=\"M0 19.5H" {TICKS * BAR} "\"/>"
        "<path class=\"all\" d=\"" {bars(track, most, |tick| tick.all)} "\"/>"
        "<path class=\"failed\" d=\"" {bars(track, most, |tick| tick.failed)} "\"/></svg>"
    );
}

fn bars(track: &Track, most: u64, figure: impl Fn(Counts) -> u64) -> String {
    let mut path = String::new();
    let missing = TICKS - track.ticks().len().min(TICKS);
    for (index, tick) in track.ticks().enumerate() {
        let figure = figure(tick);
        if figure == 0 || most == 0 {
            continue;
        }
        // What was there at all is seen.
        let height = (HEIGHT * figure as f64 / most as f64).max(1.5);
        let left = (missing + index) * BAR;
        // Writing to a string does not fail.
        let _ = write!(path, "M{left} {HEIGHT}v-{height:.1}h1.5v{height:.1}z");
    }
    path
}

/// How much of something is used.
pub(super) fn meter(out: &mut Html, share: f64) {
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let class = match share {
        0.9.. => "bad",
        0.75..0.9 => "warn",
        _ => "all",
    };
    html!(out,
        "<svg class=\"meter\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        "<rect class=\"track\" width=\"100\" height=\"6\"/><rect class=\"" {class} "\" width=\"" {format_args!("{:.1}", share * 100.0)} "\" height=\"6\"/></svg>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let took = |nanos| Took(Duration::from_nanos(nanos)).to_string();
        assert_eq!(took(840_000), "0.84 ms");
        assert_eq!(took(12_400_000), "12 ms");
        assert_eq!(took(999_600_000), "1.00 s");
        assert_eq!(took(200_000_000_000), "3 m 20 s");
        let ago = |seconds| Ago(Duration::from_secs(seconds)).to_string();
        assert_eq!(ago(59), "59 s");
        assert_eq!(ago(14_700), "4 h 5 m");
        assert_eq!(ago(1_050_000), "12 d 3 h");
        for (rate, text) in [
            (0.0, "0"),
            (0.001, "<0.01"),
            (0.25, "0.25"),
            (12.34, "12.3"),
            (480.0, "480"),
            (12_500.0, "12.5k"),
        ] {
            assert_eq!(Rate(rate).to_string(), text);
        }
        assert_eq!(Share(0.0).to_string(), "0 %");
        assert_eq!(Share(0.0012).to_string(), "0.12 %");
        assert_eq!(Share(1.0).to_string(), "100 %");
        assert_eq!(Bytes(512.0).to_string(), "512 B");
        assert_eq!(Bytes(12_595.0).to_string(), "12.3 KiB");
        assert_eq!(Bytes(3.0 * 1024.0 * 1024.0).to_string(), "3.00 MiB");
        assert_eq!(Count(1_234_567).to_string(), "1\u{202f}234\u{202f}567");
        assert_eq!(Count(12).to_string(), "12");
    }
}

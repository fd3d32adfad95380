//! Where one WebSocket frame ends and the next begins (RFC 6455, 5.2), and how long they are. What is in them is nobody's
//! business here.

/// The longest head: two bytes, a length of eight, a mask of four.
const LONGEST_HEAD: usize = 14;

/// A frame is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooBig {
    /// How many of the bytes are of the frames before it; `None` when its head began in bytes that came earlier.
    pub(super) before: Option<usize>,
}

/// Follows the frames of one direction.
#[derive(Debug)]
pub(super) struct Frames {
    max: u64,
    head: [u8; LONGEST_HEAD],
    /// Bytes of the next head that have come.
    known: usize,
    /// Bytes of this frame's payload that have not.
    left: u64,
}

impl Frames {
    pub(super) fn new(max: u64) -> Self {
        Self {
            max,
            head: [0; LONGEST_HEAD],
            known: 0,
            left: 0,
        }
    }

    /// Whether nothing of a frame has come without the rest of it.
    pub(super) fn between(&self) -> bool {
        self.known == 0 && self.left == 0
    }

    /// Takes note of bytes on their way. After a frame that is too long it stands before that frame, if it can: the bytes that
    /// are of other frames may be passed on.
    pub(super) fn pass(&mut self, all: &[u8]) -> Result<(), TooBig> {
        let mut bytes = all;
        let mut begin = None;
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.left -= here as u64;
                bytes = &bytes[here..];
                continue;
            }
            if self.known == 0 {
                begin = Some(all.len() - bytes.len());
            }
            self.head[self.known] = bytes[0];
            self.known += 1;
            bytes = &bytes[1..];
            if let Some(length) = self.length() {
                if length > self.max {
                    if begin.is_some() {
                        self.known = 0;
                    }
                    return Err(TooBig { before: begin });
                }
                self.known = 0;
                self.left = length;
            }
        }
        Ok(())
    }

    /// The payload's length, when the head is complete.
    fn length(&self) -> Option<u64> {
        let second = *self.head[..self.known].get(1)?;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let (width, short) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            short => (0, u64::from(short)),
        };
        if self.known < 2 + width + mask {
            return None;
        }
        let long = self.head[2..2 + width]
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte));
        Some(if width == 0 { short } else { long })
    }
}

/// A close frame; a client's side of a connection masks it.
pub(super) fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    // A control frame's payload has at most 125 bytes; our reasons are words.
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    payload.truncate(125);
    let length = u8::try_from(payload.len()).unwrap_or(125);
    let mut frame = vec![0x88, length];
    if let Some(mask) = mask {
        frame[1] |= 0x80;
        frame.extend_from_slice(&mask);
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
    }
    frame.extend_from_slice(&payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..=125 => frame.push(mask | length as u8),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend_from_slice(&[1, 2, 3, 4]);
        }
        frame.resize(frame.len() + length, 0xff);
        frame
    }

    #[test]
    fn frames_are_followed_in_any_pieces() {
        for masked in [false, true] {
            let all: Vec<Vec<u8>> = [0, 1, 125, 126, 300, 0xffff, 0x10000]
                .iter()
                .map(|length| frame(*length, masked))
                .collect();
            for piece in [1, 2, 3, 7, 1000, 1 << 20] {
                let mut frames = Frames::new(u64::MAX);
                for frame in &all {
                    assert!(frames.between());
                    let (last, most) = frame.split_last().unwrap_or((&0, &[]));
                    for bytes in most.chunks(piece) {
                        assert!(frames.pass(bytes).is_ok());
                        assert!(!frames.between());
                    }
                    assert!(frames.pass(&[*last]).is_ok());
                }
                assert!(frames.between(), "{masked} {piece}");
            }
        }
    }

    #[test]
    fn a_long_frame_is_refused_by_its_head() {
        let mut frames = Frames::new(300);
        assert!(frames.pass(&frame(300, true)).is_ok());
        let too_big = |before| Err(TooBig { before });
        assert_eq!(frames.pass(&frame(301, true)[..8]), too_big(Some(0)));
        let endless = [0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Frames::new(300).pass(&endless), too_big(Some(0)));
        // Behind others, and in pieces.
        let others = [frame(300, true), frame(0, true)].concat();
        let all = [&others[..], &endless].concat();
        let mut frames = Frames::new(300);
        assert_eq!(frames.pass(&all), too_big(Some(others.len())));
        assert!(frames.between());
        let mut frames = Frames::new(300);
        assert!(frames.pass(&all[..100]).is_ok());
        assert_eq!(frames.pass(&all[100..]), too_big(Some(others.len() - 100)));
        let mut frames = Frames::new(300);
        assert!(frames.pass(&all[..others.len() + 1]).is_ok());
        assert_eq!(frames.pass(&all[others.len() + 1..]), too_big(None));
        assert!(!frames.between());
    }

    #[test]
    fn a_close_frame_has_a_code_and_a_reason() {
        assert_eq!(close(4403, "idle", None), b"\x88\x06\x11\x33idle");
        let masked = close(1001, "", Some([0xff, 0, 0, 0]));
        assert_eq!(masked, b"\x88\x82\xff\x00\x00\x00\xfc\xe9");
    }
}

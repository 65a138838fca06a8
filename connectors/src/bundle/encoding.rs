//! From the bytes of a file to UTF-8. What the bytes say comes before what anyone declared; what nobody knows is asked.

use std::io::{self, Read};

use encoding_rs::{CoderResult, Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How much of a file is looked at to tell its encoding and its delimiter.
pub(crate) const HEAD: usize = 256 << 10;

/// Tells the encoding of a file from its head: a byte order mark, else zero bytes where UTF-16 has them, else UTF-8 if the head
/// shows itself as that, else what is declared; where something else is declared, a single fault is enough to believe it. A head that is neither, with nothing declared, is an error: the number of the line
/// with the first byte that is not UTF-8.
///
/// A head shows itself as UTF-8 if it has more characters of several bytes than sequences that mean nothing: the rows with those
/// are broken, not the file.
pub(crate) fn detect(head: &[u8], declared: Option<&'static Encoding>) -> Result<&'static Encoding, u64> {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Ok(encoding);
    }
    if let Some(encoding) = wide(head) {
        return Ok(encoding);
    }
    let (mut wide_characters, mut faults, mut seen, mut first_fault) = (0_usize, 0_usize, 0, None);
    for chunk in head.utf8_chunks() {
        wide_characters += chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        seen += chunk.valid().len() + chunk.invalid().len();
        // A head that is cut may end inside a character; that is no fault.
        let cut = seen == HEAD && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        if !chunk.invalid().is_empty() && !cut {
            faults += 1;
            first_fault.get_or_insert(seen - chunk.invalid().len());
        }
    }
    let other_declared = declared.is_some_and(|declared| declared != UTF_8);
    if wide_characters > faults && (faults == 0 || !other_declared) {
        return Ok(UTF_8);
    }
    match (declared, first_fault) {
        (Some(declared), _) => Ok(declared),
        (None, None) => Ok(UTF_8),
        (None, Some(at)) => Err(head[..at].split(|&byte| byte == b'\n').count() as u64),
    }
}

/// Recognises UTF-16 without a byte order mark: in a table most characters are ASCII, so every second byte is zero.
fn wide(head: &[u8]) -> Option<&'static Encoding> {
    if head.len() < 4 {
        return None;
    }
    let zeros = |offset: usize| head.iter().skip(offset).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd, half) = (zeros(0), zeros(1), head.len() / 2);
    if odd * 10 >= half * 7 && even * 10 <= half {
        Some(UTF_16LE)
    } else if even * 10 >= half * 7 && odd * 10 <= half {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Returns `input` as UTF-8, without its byte order mark.
///
/// A UTF-8 file passes through as it is, so that one bad byte spoils one row. In other encodings a sequence that means nothing
/// becomes a byte that UTF-8 does not have, with the same effect.
pub(crate) fn decode<R: Read>(input: R, encoding: &'static Encoding) -> Decoded<R> {
    Decoded {
        input,
        coder: (encoding != UTF_8).then(|| encoding.new_decoder_with_bom_removal()),
        at_start: true,
        raw: vec![0; 16 << 10],
        raw_range: 0..0,
        ended: false,
        ready: Vec::new(),
        given: 0,
    }
}

/// A reader that turns another encoding into UTF-8.
pub(crate) struct Decoded<R> {
    input: R,
    /// `None` for UTF-8, which needs none.
    coder: Option<Decoder>,
    at_start: bool,
    raw: Vec<u8>,
    raw_range: std::ops::Range<usize>,
    ended: bool,
    ready: Vec<u8>,
    given: usize,
}

impl<R> std::fmt::Debug for Decoded<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoded").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<R: Read> Decoded<R> {
    /// Fills `ready` with at least one byte, or finds the end.
    fn refill(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.given = 0;
        while self.ready.is_empty() && !self.ended {
            if self.raw_range.is_empty() {
                let count = read_once(&mut self.input, &mut self.raw)?;
                self.raw_range = 0..count;
            }
            let last = self.raw_range.is_empty();
            let Some(coder) = &mut self.coder else {
                self.plain()?;
                continue;
            };
            let source = &self.raw[self.raw_range.clone()];
            self.ready
                .reserve(coder.max_utf8_buffer_length_without_replacement(source.len()).unwrap_or(64 << 10).max(16));
            let room = self.ready.capacity();
            self.ready.resize(room, 0);
            let (result, taken, written) = coder.decode_to_utf8_without_replacement(source, &mut self.ready, last);
            self.ready.truncate(written);
            self.raw_range.start += taken;
            match result {
                DecoderResult::InputEmpty => self.ended = last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.ready.push(0xFF),
            }
        }
        Ok(())
    }

    /// Passes UTF-8 on, without the mark at the start.
    fn plain(&mut self) -> io::Result<()> {
        let mut bytes = self.raw[self.raw_range.clone()].to_vec();
        self.raw_range = 0..0;
        if bytes.is_empty() {
            self.ended = true;
            return Ok(());
        }
        if std::mem::take(&mut self.at_start) {
            while bytes.len() < 3 {
                let mut more = [0; 1];
                if read_once(&mut self.input, &mut more)? == 0 {
                    break;
                }
                bytes.push(more[0]);
            }
            if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
                bytes.drain(..3);
            }
        }
        self.ready = bytes;
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() {
            // A large file in UTF-8 is not copied twice.
            if self.coder.is_none() && !self.at_start && self.raw_range.is_empty() {
                return read_once(&mut self.input, out);
            }
            self.refill()?;
        }
        let count = out.len().min(self.ready.len() - self.given);
        out[..count].copy_from_slice(&self.ready[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

fn read_once(input: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(out) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads at most [`HEAD`] bytes.
pub(crate) fn head(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(HEAD as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Turns a whole head into text, leniently: it is only looked at, never carried over.
pub(crate) fn glance(head: &[u8], encoding: &'static Encoding) -> String {
    let mut coder = encoding.new_decoder_with_bom_removal();
    let mut text = String::with_capacity(coder.max_utf8_buffer_length(head.len()).unwrap_or(head.len() * 3));
    let (result, ..) = coder.decode_to_string(head, &mut text, false);
    debug_assert_eq!(result, CoderResult::InputEmpty);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use encoding_rs::WINDOWS_1252;
    use proptest::prelude::*;

    /// Gives one byte at a time, as a slow pipe does.
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut out[..1])
        }
    }

    fn all(input: impl Read, encoding: &'static Encoding) -> Vec<u8> {
        let mut bytes = Vec::new();
        decode(input, encoding).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn utf_16(text: &str, little: bool, mark: bool) -> Vec<u8> {
        let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
        units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    }

    #[test]
    fn the_bytes_come_before_the_declaration() {
        assert_eq!(detect(b"\xEF\xBB\xBFid", Some(WINDOWS_1252)), Ok(UTF_8));
        assert_eq!(detect(&utf_16("id,name\n1,Ada\n", true, false), None), Ok(UTF_16LE));
        assert_eq!(detect(&utf_16("id,name\n1,Ada\n", false, true), None), Ok(UTF_16BE));
        assert_eq!(detect("é".as_bytes(), Some(WINDOWS_1252)), Ok(UTF_8));
        assert_eq!(detect(b"plain", Some(WINDOWS_1252)), Ok(WINDOWS_1252));
        assert_eq!(detect(b"id\n\xe9t\xe9\n", Some(WINDOWS_1252)), Ok(WINDOWS_1252));
        assert_eq!(detect(b"id\n\xe9t\xe9\n", None), Err(2));
        assert_eq!(detect(b"id\n\xe9t\xe9\n", Some(UTF_8)), Ok(UTF_8), "declared, so the row is broken");
        assert_eq!(detect("id\né\nü\n\u{e4}".as_bytes(), None), Ok(UTF_8));
        assert_eq!(detect(b"\xc3\xa9\n\xc3\xbc\n\xe9t\n", Some(WINDOWS_1252)), Ok(WINDOWS_1252));
        assert_eq!(detect(b"\xc3\xa9\n\xc3\xbc\n\xe9t\n", None), Ok(UTF_8), "one row is broken");
        assert_eq!(detect(b"caf\xc3", None), Err(1), "nothing comes after it");
        let mut long = vec![b'a'; HEAD - 1];
        long.push(0xC3);
        assert_eq!(detect(&long, None), Ok(UTF_8), "cut inside a character");
    }

    #[test]
    fn a_broken_sequence_stays_broken() {
        let mut bytes = utf_16("a,", true, true);
        bytes.extend([0x00, 0xD8]);
        bytes.extend(utf_16("b", true, false));
        assert!(std::str::from_utf8(&all(bytes.as_slice(), UTF_16LE)).is_err());
        assert_eq!(all(b"\x93x\x94".as_slice(), WINDOWS_1252), "“x”".as_bytes());
    }

    proptest! {
        #[test]
        fn text_comes_through_in_every_encoding(text in "\\PC{0,80}", little in any::<bool>(), mark in any::<bool>()) {
            prop_assume!(!text.starts_with('\u{feff}'));
            let wide = utf_16(&text, little, mark);
            let encoding = if little { UTF_16LE } else { UTF_16BE };
            prop_assert_eq!(all(wide.as_slice(), encoding), text.as_bytes());
            prop_assert_eq!(all(Slow(&wide), encoding), text.as_bytes());
            let marked = if mark { format!("\u{feff}{text}") } else { text.clone() };
            prop_assert_eq!(all(marked.as_bytes(), UTF_8), text.as_bytes());
            prop_assert_eq!(all(Slow(marked.as_bytes()), UTF_8), text.as_bytes());
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for encoding in [UTF_8, UTF_16LE, WINDOWS_1252, encoding_rs::BIG5] {
                let _ = all(bytes.as_slice(), encoding);
                let _ = glance(&bytes, encoding);
            }
            let _ = detect(&bytes, None);
        }
    }
}

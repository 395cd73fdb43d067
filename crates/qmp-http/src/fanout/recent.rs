//! The last chunks of a stream, each with its range of offsets.

use std::collections::VecDeque;

use axum::body::Bytes;
use qmp_wire::Offset;

/// Text that one stream keeps for readers that lag a little, in bytes; the newest chunk is kept whatever its size.
///
/// A chunk has at most a thousand events of 250 bytes: this is several chunks, or seconds of a storm.
const SHARED_TEXT_MAX_BYTES: usize = 1 << 20;

/// The last chunks, without a gap between them.
#[derive(Debug)]
pub(super) struct RecentChunks {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// The beginning of the next chunk.
    front: Offset,
}

/// The text of the records after one offset and up to another; empty if the query selects none of them.
#[derive(Debug)]
struct Chunk {
    after: Offset,
    upto: Offset,
    text: Bytes,
}

/// The next step of a reader at some position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadStep {
    /// Send this text, then continue from `upto`.
    Chunk { text: Bytes, upto: Offset },
    /// No chunk begins at the position: the reader reads the journal up to `upto`, where one begins.
    Between { upto: Offset },
    /// The position is at the front or after it.
    Front,
}

impl RecentChunks {
    pub(super) fn new(front: Offset) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, front }
    }

    /// Discards all chunks; the next one begins at `front`.
    pub(super) fn begin_at(&mut self, front: Offset) {
        *self = Self::new(front);
    }

    /// Appends the chunk after the last one, and discards old ones.
    pub(super) fn push(&mut self, text: Bytes, upto: Offset) {
        let after = std::mem::replace(&mut self.front, upto);
        self.bytes += text.len();
        match self.chunks.back_mut() {
            // Adjacent empty ranges are merged into one chunk.
            Some(last) if text.is_empty() && last.text.is_empty() => last.upto = upto,
            _ if upto > after => self.chunks.push_back(Chunk { after, upto, text }),
            _ => {}
        }
        while self.bytes > SHARED_TEXT_MAX_BYTES && self.chunks.len() > 1 {
            self.bytes -= self.chunks.pop_front().map_or(0, |chunk| chunk.text.len());
        }
    }

    pub(super) fn at(&self, position: Offset) -> ReadStep {
        if position >= self.front {
            return ReadStep::Front;
        }
        let next = self.chunks.partition_point(|chunk| chunk.upto <= position);
        match self.chunks.get(next) {
            Some(chunk) if chunk.after == position || (chunk.after < position && chunk.text.is_empty()) => {
                ReadStep::Chunk { text: chunk.text.clone(), upto: chunk.upto }
            }
            Some(chunk) if chunk.after > position => ReadStep::Between { upto: chunk.after },
            Some(chunk) => ReadStep::Between { upto: chunk.upto },
            None => ReadStep::Between { upto: self.front },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_selects_its_chunk() {
        let mut recent = RecentChunks::new(Offset(10));
        for (text, upto) in [("a", 12), ("", 15), ("", 16), ("bc", 20)] {
            recent.push(Bytes::from_static(text.as_bytes()), Offset(upto));
        }
        let chunk =
            |text: &'static str, upto| ReadStep::Chunk { text: Bytes::from(text), upto: Offset(upto) };
        let between = |upto| ReadStep::Between { upto: Offset(upto) };
        //  at    expected
        let cases = [
            (0, between(10)),
            (9, between(10)),
            (10, chunk("a", 12)),
            (11, between(12)),
            (12, chunk("", 16)),
            // The range up to 16 is empty, so every position in it gets the rest of the range.
            (15, chunk("", 16)),
            (16, chunk("bc", 20)),
            (17, between(20)),
            (20, ReadStep::Front),
            (21, ReadStep::Front),
        ];
        for (at, expected) in cases {
            assert_eq!(recent.at(Offset(at)), expected, "{at}");
        }
        recent.begin_at(Offset(30));
        assert_eq!(recent.at(Offset(20)), between(30));
        assert_eq!(recent.at(Offset(30)), ReadStep::Front);
    }

    #[test]
    fn kept_text_is_bounded() {
        let mut recent = RecentChunks::new(Offset(0));
        let half = Bytes::from(vec![b'x'; SHARED_TEXT_MAX_BYTES / 2]);
        for n in 1..=5 {
            recent.push(half.clone(), Offset(2 * n - 1));
            recent.push(Bytes::new(), Offset(2 * n));
        }
        assert_eq!(recent.bytes, SHARED_TEXT_MAX_BYTES);
        assert!(recent.chunks.len() <= 5, "{}", recent.chunks.len());
        assert_eq!(recent.at(Offset(0)), ReadStep::Between { upto: recent.chunks[0].after });
        recent.push(Bytes::from(vec![b'x'; 2 * SHARED_TEXT_MAX_BYTES]), Offset(11));
        assert_eq!((recent.chunks.len(), recent.bytes), (1, 2 * SHARED_TEXT_MAX_BYTES));
    }
}

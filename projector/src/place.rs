//! A position in five bytes, for folds that keep one or more for every record.

use bincode::{Decode, Encode};
use waybill_ledger::Position;

/// The number that stands for no position. A ledger of a million million events is yet to be written.
const NONE: u64 = (1 << 40) - 1;

/// A position, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Place([u8; 5]);

impl Place {
    pub(crate) const NOWHERE: Self = Self([0xff; 5]);

    pub(crate) fn new(position: Position) -> Self {
        let bytes = position.0.min(NONE).to_le_bytes();
        let mut own = [0; 5];
        own.copy_from_slice(&bytes[..5]);
        Self(own)
    }

    pub(crate) fn get(self) -> Option<Position> {
        let mut bytes = [0; 8];
        bytes[..5].copy_from_slice(&self.0);
        let number = u64::from_le_bytes(bytes);
        (number != NONE).then_some(Position(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_back() {
        for number in [0, 1, 255, 256, 1 << 32, NONE - 1] {
            assert_eq!(Place::new(Position(number)).get(), Some(Position(number)));
        }
        assert_eq!(Place::NOWHERE.get(), None);
    }
}

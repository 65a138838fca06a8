//! Columns of numbers, one for each of many records, in as few bytes as the numbers need.
//!
//! What a fold keeps of records is mostly alike from one to the next: subjects count up, positions lie a few apart,
//! nearly all flags are equal. A column is cut into pages; each keeps its numbers as distances from a straight line, and
//! every distance in as many bits as the page's largest needs. Any number is read and changed in place.

use bincode::{
    Decode, Encode,
    de::Decoder,
    enc::Encoder,
    error::{DecodeError, EncodeError},
};
use waybill_ledger::Position;

/// Numbers of one page.
const PAGE: usize = 256;
/// In how many bits a page may keep its distances.
const WIDTHS: [u8; 7] = [1, 2, 4, 8, 16, 32, 64];

/// A column: a number or none, by the index of a record. Whatever was never set is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    pages: Vec<Page>,
    len: usize,
}

/// Numbers that lie near a line: code 0 is none, any other code is one more than the distance above the line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
struct Page {
    base: u64,
    step: i64,
    /// Bits of a code; with 0 every number of the page is none.
    width: u8,
    codes: Box<[u8]>,
}

impl Page {
    /// The number that the line has at a place, around the ends of 64 bits.
    fn line(base: u64, step: i64, place: usize) -> u64 {
        base.wrapping_add_signed(step.wrapping_mul(i64::try_from(place).unwrap_or(0)))
    }

    fn code(&self, place: usize) -> u64 {
        let codes = &self.codes;
        match self.width {
            0 => 0,
            width @ (1 | 2 | 4) => {
                let bit = place * usize::from(width);
                u64::from(codes[bit / 8] >> (bit % 8) & ((1 << width) - 1))
            }
            8 => codes[place].into(),
            16 => u16::from_le_bytes([codes[2 * place], codes[2 * place + 1]]).into(),
            32 => u32::from_le_bytes(codes[4 * place..4 * place + 4].try_into().expect("four bytes")).into(),
            _ => u64::from_le_bytes(codes[8 * place..8 * place + 8].try_into().expect("eight bytes")),
        }
    }

    fn set_code(&mut self, place: usize, code: u64) {
        let bytes = code.to_le_bytes();
        match self.width {
            0 => {}
            width @ (1 | 2 | 4) => {
                let bit = place * usize::from(width);
                let byte = &mut self.codes[bit / 8];
                *byte = *byte & !(((1 << width) - 1) << (bit % 8)) | bytes[0] << (bit % 8);
            }
            width => {
                let width = usize::from(width / 8);
                self.codes[place * width..][..width].copy_from_slice(&bytes[..width]);
            }
        }
    }

    fn get(&self, place: usize) -> Option<u64> {
        let distance = self.code(place).checked_sub(1)?;
        Some(Self::line(self.base, self.step, place).wrapping_add(distance))
    }

    /// Sets a number, if the page's line and width have room for it.
    fn fits(&mut self, place: usize, number: Option<u64>) -> bool {
        let code = match number {
            None => 0,
            Some(number) => match number.wrapping_sub(Self::line(self.base, self.step, place)).checked_add(1) {
                Some(code) => code,
                None => return false,
            },
        };
        let room = match self.width {
            64 => u64::MAX,
            width => (1 << width) - 1,
        };
        let fits = code <= room;
        if fits {
            self.set_code(place, code);
        }
        fits
    }

    fn numbers(&self) -> [Option<u64>; PAGE] {
        let mut numbers = [None; PAGE];
        // One loop for each width: they are gone through by the million.
        match self.width {
            0 => {}
            8 => self.fill(&mut numbers, self.codes.iter().map(|code| u64::from(*code))),
            16 => {
                let codes = self.codes.as_chunks().0;
                self.fill(&mut numbers, codes.iter().map(|code| u64::from(u16::from_le_bytes(*code))));
            }
            _ => self.fill(&mut numbers, (0..PAGE).map(|place| self.code(place))),
        }
        numbers
    }

    fn fill(&self, numbers: &mut [Option<u64>; PAGE], codes: impl Iterator<Item = u64>) {
        let mut line = self.base;
        for (number, code) in numbers.iter_mut().zip(codes) {
            *number = code.checked_sub(1).map(|distance| line.wrapping_add(distance));
            line = line.wrapping_add_signed(self.step);
        }
    }

    /// Returns the page that keeps these numbers in the fewest bits, of the two lines that are looked at: the level one,
    /// and the one through the first number and the last. Equal numbers make equal pages.
    fn of(numbers: &[Option<u64>; PAGE]) -> Self {
        let mut there = numbers.iter().enumerate().filter_map(|(place, number)| number.map(|number| (place, number)));
        let Some((first, from)) = there.next() else { return Self::default() };
        let slope = there.next_back().map_or(0, |(last, to)| {
            let run = i64::try_from(last - first).unwrap_or(1);
            to.wrapping_sub(from).cast_signed().wrapping_div(run)
        });
        // A line through points that lie anywhere leads nowhere: it must save bits.
        let (level, sloping) = (Self::along(numbers, 0), Self::along(numbers, slope));
        let (step, (lowest, most)) =
            if Self::width_for(sloping.1) < Self::width_for(level.1) { (slope, sloping) } else { (0, level) };
        let width = Self::width_for(most);
        // What the codes have room for beyond the numbers lies on both sides of them.
        let room = if width == 64 { 0 } else { ((1 << width) - 2 - most) / 2 };
        let base = lowest.wrapping_sub(room);
        let mut page = Self { base, step, width, codes: vec![0; PAGE * usize::from(width) / 8].into() };
        for (place, number) in numbers.iter().enumerate() {
            if number.is_some() {
                page.fits(place, *number);
            }
        }
        page
    }

    /// Returns in how many bits distances up to this one are kept.
    fn width_for(most: u64) -> u8 {
        let bits = 64 - most.saturating_add(1).leading_zeros();
        WIDTHS.into_iter().find(|width| u32::from(*width) >= bits).unwrap_or(64)
    }

    /// Returns where a line of this step begins so that no number lies below it, and how far above it the highest lies.
    fn along(numbers: &[Option<u64>; PAGE], step: i64) -> (u64, u64) {
        let (mut lowest, mut highest) = (i128::MAX, i128::MIN);
        for (place, number) in numbers.iter().enumerate() {
            if let Some(number) = number {
                let above = i128::from(*number) - i128::from(step) * i128::try_from(place).unwrap_or(0);
                (lowest, highest) = (lowest.min(above), highest.max(above));
            }
        }
        // Truncated to 64 bits, as the line is: distances come out right as long as they have room themselves.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the line goes around the ends")]
        (lowest as u64, u64::try_from(highest - lowest).unwrap_or(u64::MAX))
    }
}

impl Column {
    /// Returns one more than the highest index that was ever set.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of a record, if it has one.
    pub(crate) fn get(&self, index: usize) -> Option<u64> {
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    /// Returns the number of a record as one of 32 bits.
    pub(crate) fn short(&self, index: usize) -> Option<u32> {
        self.get(index).and_then(|number| u32::try_from(number).ok())
    }

    /// Sets the number of a record. The highest number of all, 2^64 - 1, cannot be kept, and becomes the one below it.
    pub(crate) fn set(&mut self, index: usize, number: Option<u64>) {
        let number = number.map(|number| number.min(u64::MAX - 1));
        self.len = self.len.max(index + 1);
        if self.pages.len() <= index / PAGE {
            self.pages.resize(index / PAGE + 1, Page::default());
        }
        let page = &mut self.pages[index / PAGE];
        if !page.fits(index % PAGE, number) {
            let mut numbers = page.numbers();
            numbers[index % PAGE] = number;
            *page = Page::of(&numbers);
        }
    }
}

/// Goes through the numbers of a column, page by page.
#[derive(Debug, Clone)]
pub(crate) struct Numbers<'c> {
    column: &'c Column,
    index: usize,
    page: [Option<u64>; PAGE],
}

impl Iterator for Numbers<'_> {
    type Item = Option<u64>;

    fn next(&mut self) -> Option<Option<u64>> {
        let index = self.index;
        if index >= self.column.len {
            return None;
        }
        if index.is_multiple_of(PAGE) {
            self.page = self.column.pages.get(index / PAGE).map_or([None; PAGE], Page::numbers);
        }
        self.index += 1;
        Some(self.page[index % PAGE])
    }
}

impl Column {
    /// Returns every number, in order.
    pub(crate) fn numbers(&self) -> Numbers<'_> {
        Numbers { column: self, index: 0, page: [None; PAGE] }
    }

    /// Returns the numbers of so many records, in order, whether or not they were ever set.
    pub(crate) fn numbers_to(&self, count: usize) -> impl Iterator<Item = Option<u64>> {
        self.numbers().chain(std::iter::repeat(None)).take(count)
    }

    /// Lets every page take no more bits than its numbers need now.
    pub(crate) fn compact(&mut self) {
        for page in &mut self.pages {
            *page = Page::of(&page.numbers());
        }
    }
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && (0..self.len).all(|index| self.get(index) == other.get(index))
    }
}

impl Eq for Column {}

/// Equal columns have equal bytes, however they came to their numbers.
impl Encode for Column {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.len as u64).encode(encoder)?;
        for page in &self.pages {
            Page::of(&page.numbers()).encode(encoder)?;
        }
        Ok(())
    }
}

impl<Context> Decode<Context> for Column {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let len = usize::try_from(u64::decode(decoder)?).map_err(|_| DecodeError::Other("a column is too long"))?;
        let mut pages = Vec::new();
        for _ in 0..len.div_ceil(PAGE) {
            let page = Page::decode(decoder)?;
            let known = page.width == 0 || WIDTHS.contains(&page.width);
            if !known || page.codes.len() != PAGE * usize::from(page.width) / 8 {
                return Err(DecodeError::Other("a page of a column is not whole"));
            }
            pages.push(page);
        }
        Ok(Self { pages, len })
    }
}

bincode::impl_borrow_decode!(Column);

/// Digests, the first bytes of each: nothing about them is alike, so they lie as they are, in pages, which never move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Digests<const N: usize> {
    pages: Vec<Box<[u8]>>,
}

impl<const N: usize> Digests<N> {
    /// Returns a record's digest; zeros, if none was set.
    pub(crate) fn get(&self, index: usize) -> [u8; N] {
        let page = self.pages.get(index / PAGE).and_then(|page| page.get(index % PAGE * N..)?.first_chunk());
        page.copied().unwrap_or([0; N])
    }

    /// Sets a record's digest.
    pub(crate) fn set(&mut self, index: usize, digest: [u8; N]) {
        if self.pages.len() <= index / PAGE {
            self.pages.resize_with(index / PAGE + 1, || vec![0; PAGE * N].into());
        }
        if let Some(bytes) = self.pages[index / PAGE].get_mut(index % PAGE * N..).and_then(<[u8]>::first_chunk_mut) {
            *bytes = digest;
        }
    }
}

/// Positions in the ledger, ascending, in a byte or two each.
#[derive(Debug, Clone, Default)]
pub struct Positions(Column);

impl Positions {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Position> + Send {
        self.0.numbers().flatten().map(Position)
    }
}

impl FromIterator<Position> for Positions {
    fn from_iter<I: IntoIterator<Item = Position>>(positions: I) -> Self {
        let mut column = Column::default();
        for (index, position) in positions.into_iter().enumerate() {
            column.set(index, Some(position.0));
        }
        Self(column)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bincode::config;
    use proptest::prelude::*;

    use super::*;

    fn bytes(column: &Column) -> Vec<u8> {
        bincode::encode_to_vec(column, config::standard()).unwrap()
    }

    fn number() -> impl Strategy<Value = Option<u64>> {
        prop_oneof![
            Just(None),
            (0..4_u64).prop_map(Some),
            (0..100_000_u64).prop_map(Some),
            (u64::MAX - 3..u64::MAX).prop_map(Some),
            (0..u64::MAX).prop_map(Some),
        ]
    }

    proptest! {
        #[test]
        fn a_column_is_a_list_of_numbers(sets in prop::collection::vec((0..700_usize, number()), 0..900)) {
            let (mut column, mut list) = (Column::default(), vec![None; 700]);
            for (index, number) in &sets {
                column.set(*index, *number);
                list[*index] = *number;
            }
            for (index, number) in list.iter().enumerate() {
                prop_assert_eq!(column.get(index), *number);
            }
            let all: Vec<_> = column.numbers().collect();
            prop_assert_eq!(&all[..], &list[..column.len()]);
            prop_assert_eq!(column.len(), sets.iter().map(|(index, _)| index + 1).max().unwrap_or(0));
            let (back, read): (Column, usize) = bincode::decode_from_slice(&bytes(&column), config::standard()).unwrap();
            prop_assert_eq!(read, bytes(&column).len());
            prop_assert_eq!(&back, &column);
        }

        #[test]
        fn equal_columns_have_equal_bytes_whatever_they_held_before(
            now in prop::collection::vec(number(), 1..600),
            before in prop::collection::vec(number(), 1..600),
        ) {
            let mut fresh = Column::default();
            let mut used = Column::default();
            for (index, number) in before.iter().enumerate().take(now.len()) {
                used.set(index, *number);
            }
            for (index, number) in now.iter().enumerate() {
                fresh.set(index, *number);
            }
            for (index, number) in now.iter().enumerate().rev() {
                used.set(index, *number);
            }
            prop_assert_eq!(&fresh, &used);
            prop_assert_eq!(bytes(&fresh), bytes(&used));
        }
    }

    #[test]
    fn numbers_that_count_up_take_a_bit_each_and_what_never_was_set_takes_nothing() {
        let mut column = Column::default();
        for index in 0..PAGE * 100 {
            column.set(index, Some(7 + 2 * index as u64));
        }
        column.set(PAGE * 1_000, Some(1));
        let kept: usize = column.pages.iter().map(|page| page.codes.len()).sum();
        assert_eq!(kept, PAGE * 100 / 8 + PAGE / 8);
        assert_eq!(column.get(PAGE * 500), None);
        assert_eq!(column.get(PAGE * 2_000), None);
    }

    #[test]
    fn a_damaged_page_is_an_error() {
        let mut column = Column::default();
        column.set(3, Some(9));
        let good = bytes(&column);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = bad[at].wrapping_add(1);
            // Whatever it says then, nobody panics on it.
            if let Ok((column, _)) = bincode::decode_from_slice::<Column, _>(&bad, config::standard()) {
                for index in 0..column.len().min(1_000) {
                    let _ = column.get(index);
                }
            }
        }
        let mut short = Page::of(&std::array::from_fn(|_| Some(3)));
        short.width = 64;
        let mut bad = bincode::encode_to_vec(1_u64, config::standard()).unwrap();
        bad.extend(bincode::encode_to_vec(&short, config::standard()).unwrap());
        assert!(bincode::decode_from_slice::<Column, _>(&bad, config::standard()).is_err());
    }

    #[test]
    fn positions_read_back_in_order() {
        let all = [3, 4, 6, 900, 1 << 40].map(Position);
        let positions: Positions = all.into_iter().collect();
        assert_eq!((positions.len(), positions.iter().collect::<Vec<_>>()), (5, all.to_vec()));
        assert!(Positions::default().is_empty());
    }

    #[test]
    fn digests_read_back() {
        let mut digests = Digests::<8>::default();
        digests.set(300, [7; 8]);
        assert_eq!((digests.get(300), digests.get(299), digests.get(9_000)), ([7; 8], [0; 8], [0; 8]));
    }
}

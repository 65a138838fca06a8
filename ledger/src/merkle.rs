//! The Merkle tree of RFC 6962 (section 2.1) with blake3 in the place of SHA-256: over the envelopes of a block, and over the
//! blocks.

use crate::subject::Digest;

/// Returns the hash of a leaf.
pub fn leaf(bytes: &[u8]) -> Digest {
    // One piece is hashed faster than two: most leaves are short.
    let mut piece = [0; 256];
    if let Some(rest) = piece[1..].get_mut(..bytes.len()) {
        rest.copy_from_slice(bytes);
        return Digest::of(&piece[..=bytes.len()]);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0]).update(bytes);
    Digest(*hasher.finalize().as_bytes())
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut piece = [1; 65];
    piece[1..33].copy_from_slice(&left.0);
    piece[33..].copy_from_slice(&right.0);
    Digest::of(&piece)
}

/// The right edge of a tree: enough to add leaves and to tell the root, in space that grows with the logarithm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// The roots of the perfect subtrees, the largest first.
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Adds a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut carry = leaf;
        let mut size = self.size;
        while size & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                carry = node(&left, &carry);
            }
            size >>= 1;
        }
        self.peaks.push(carry);
        self.size += 1;
    }

    /// Returns how many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root; the root of no leaves is the hash of no bytes.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Digest::of(b""),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

impl FromIterator<Digest> for Frontier {
    fn from_iter<I: IntoIterator<Item = Digest>>(leaves: I) -> Self {
        let mut frontier = Self::default();
        leaves.into_iter().for_each(|leaf| frontier.push(leaf));
        frontier
    }
}

/// Returns the path that proves a leaf to be in the tree over `leaves`: the siblings from the leaf up.
pub fn path(leaves: &[Digest], index: usize) -> Vec<Digest> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let root = |part: &[Digest]| part.iter().copied().collect::<Frontier>().root();
    if index < split {
        let mut path = path(left, index);
        path.push(root(right));
        path
    } else {
        let mut path = path(right, index - split);
        path.push(root(left));
        path
    }
}

/// Returns the root that a path leads to, or nothing if the path does not fit a tree of that size.
pub fn root_of(leaf: Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|n| leaf(&n.to_le_bytes())).collect()
    }

    /// The definition of RFC 6962, section 2.1, word for word.
    fn by_definition(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn the_frontier_is_the_tree_of_the_definition() {
        for count in 0..70 {
            let leaves = leaves(count);
            assert_eq!(leaves.iter().copied().collect::<Frontier>().root(), by_definition(&leaves), "{count} leaves");
        }
    }

    #[test]
    fn every_leaf_is_proven_and_no_other() {
        for count in 1..40 {
            let leaves = leaves(count);
            let root = by_definition(&leaves);
            for index in 0..count {
                let path = path(&leaves, index);
                let prove = |leaf| root_of(leaf, index as u64, count as u64, &path);
                assert_eq!(prove(leaves[index]), Some(root), "{index} of {count}");
                assert_ne!(prove(leaf(b"another")), Some(root));
                let mut longer = path.clone();
                longer.push(root);
                assert_ne!(root_of(leaves[index], index as u64, count as u64, &longer), Some(root));
            }
        }
        assert_eq!(root_of(leaf(b""), 3, 3, &[]), None);
    }
}

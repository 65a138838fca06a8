//! The idempotency key of a target.

/// Returns the key that a target's destination record carries.
///
/// It follows from the project, the source instance, the object, the record's id, the rule and the part, and from nothing
/// else: the same record always gets the same key. It begins with the project's [`key_prefix`] and has 44 characters of
/// `0-9a-z` and `-`, so that systems that compare without regard to case cannot confuse two.
pub fn write_key(project: &str, instance: &str, object: &str, id: &str, rule: &str, part: u16) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("waybill: idempotency key of a target, v1");
    for text in [project, instance, object, id, rule] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.update(&part.to_le_bytes());
    format!("{}{}", key_prefix(project), &hasher.finalize().to_hex()[..32])
}

/// Returns how every key of a project begins.
pub fn key_prefix(project: &str) -> String {
    format!("wb-{}-", &blake3::hash(project.as_bytes()).to_hex()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_identity_counts_and_none_runs_into_the_next() {
        let key = write_key("p", "spark:1", "contacts", "42", "contact", 0);
        assert_eq!(key, write_key("p", "spark:1", "contacts", "42", "contact", 0));
        assert_eq!(key.len(), 44);
        for other in [
            write_key("q", "spark:1", "contacts", "42", "contact", 0),
            write_key("p", "spark:2", "contacts", "42", "contact", 0),
            write_key("p", "spark:1", "contact", "s42", "contact", 0),
            write_key("p", "spark:1", "contacts", "43", "contact", 0),
            write_key("p", "spark:1", "contacts", "42", "lead", 0),
            write_key("p", "spark:1", "contacts", "42", "contact", 1),
        ] {
            assert_ne!(key, other);
        }
    }
}

//! What an update may set: what we wrote, what the source says now, what the destination holds now, field by field.

use waybill_ledger::{Field, FieldName, Fields};

/// How a rule treats a record that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// Every field that the rule maps is set.
    #[default]
    Merge,
    /// Only fields that hold nothing are set.
    FillEmpty,
    /// Nothing is set: rows are only created.
    CreateOnly,
}

/// Who wins a field that someone changed at the destination since we wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Winner {
    /// A person decides.
    #[default]
    Hold,
    /// The source.
    Source,
    /// The destination.
    Destination,
}

/// What an update does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Converged {
    /// Fields to set, with their new values.
    pub set: Fields,
    /// The same fields as they are now.
    pub before: Fields,
    /// Fields that someone changed since and that a person must decide on.
    pub conflicts: Vec<FieldName>,
}

/// Three views of one destination record, and how its fields compare.
pub struct Views<'a> {
    /// What we last wrote; none if the record was there before us.
    pub last: Option<&'a Fields>,
    /// The fields that the destination held differently after that write, as it held them.
    pub after: &'a Fields,
    /// What the source wants now.
    pub desired: &'a Fields,
    /// What the destination holds now.
    pub now: &'a Fields,
    /// Whether two values of a field are the same to the destination.
    pub same: &'a dyn Fn(&FieldName, &Field, &Field) -> bool,
}

impl std::fmt::Debug for Views<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").finish_non_exhaustive()
    }
}

/// Returns what an update sets, leaves, and leaves to a person.
///
/// `winner` says of each field who wins it.
pub fn converge(views: &Views<'_>, touch: Touch, winner: impl Fn(&FieldName) -> Winner) -> Converged {
    let mut converged = Converged::default();
    for (name, value) in views.desired.iter() {
        let wanted = value.map_or(Field::Null, |value| Field::Present(value.clone()));
        let now = nothing_as_null(views.now.get(name.as_str()));
        if (views.same)(name, &wanted, &now) {
            continue;
        }
        if let Some(last) = views.last {
            let last = last.get(name.as_str());
            if last != Field::Absent && (views.same)(name, &wanted, &last) {
                // The source did not move: whatever the destination holds now is its own affair.
                continue;
            }
            let ours = match views.after.get(name.as_str()) {
                Field::Absent => nothing_as_null(last),
                after => after,
            };
            if !(views.same)(name, &now, &ours) {
                match winner(name) {
                    Winner::Hold => converged.conflicts.push(name.clone()),
                    Winner::Destination => {}
                    Winner::Source => set(&mut converged, name, wanted, now),
                }
                continue;
            }
            set(&mut converged, name, wanted, now);
        } else {
            let may = match touch {
                Touch::Merge => true,
                Touch::FillEmpty => now.is_blank(),
                Touch::CreateOnly => false,
            };
            if may {
                set(&mut converged, name, wanted, now);
            }
        }
    }
    converged
}

fn set(converged: &mut Converged, name: &FieldName, wanted: Field, now: Field) {
    converged.set.set(name.clone(), wanted);
    converged.before.set(name.clone(), now);
}

/// A field that a complete read does not show holds nothing.
fn nothing_as_null(field: Field) -> Field {
    if field == Field::Absent { Field::Null } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(n, v)| (*n, Field::from(*v))).collect()
    }

    fn check(last: &str, after: Option<&str>, desired: &str, now: &str, winner: Winner) -> (Option<String>, usize) {
        let last = fields(&[("f", last)]);
        let after = after.map(|after| fields(&[("f", after)])).unwrap_or_default();
        let views = Views {
            last: Some(&last),
            after: &after,
            desired: &fields(&[("f", desired)]),
            now: &fields(&[("f", now)]),
            same: &|_, a, b| a == b,
        };
        let converged = converge(&views, Touch::Merge, |_| winner);
        (converged.set.text("f").map(str::to_owned), converged.conflicts.len())
    }

    #[test]
    fn only_what_the_source_moved_is_set() {
        assert_eq!(check("1", None, "2", "1", Winner::Hold), (Some("2".into()), 0));
        assert_eq!(check("1", None, "1", "9", Winner::Hold), (None, 0), "a person's edit stays");
        assert_eq!(check("1", None, "2", "2", Winner::Hold), (None, 0), "already there");
    }

    #[test]
    fn a_field_that_both_moved_is_a_conflict_unless_the_plan_says_who_wins() {
        assert_eq!(check("1", None, "2", "9", Winner::Hold), (None, 1));
        assert_eq!(check("1", None, "2", "9", Winner::Source), (Some("2".into()), 0));
        assert_eq!(check("1", None, "2", "9", Winner::Destination), (None, 0));
    }

    #[test]
    fn what_the_platform_made_of_our_value_is_not_someone_elses_edit() {
        assert_eq!(check("1", Some("one"), "2", "one", Winner::Hold), (Some("2".into()), 0));
    }

    #[test]
    fn a_record_that_was_there_before_us_is_filled_or_merged() {
        let (desired, now) = (fields(&[("a", "new"), ("b", "new")]), fields(&[("a", "old")]));
        let views = Views { last: None, after: &Fields::new(), desired: &desired, now: &now, same: &|_, a, b| a == b };
        let filled = converge(&views, Touch::FillEmpty, |_| Winner::Hold);
        assert_eq!((filled.set.text("a"), filled.set.text("b")), (None, Some("new")));
        assert_eq!(filled.before.get("b"), Field::Null);
        assert_eq!(converge(&views, Touch::Merge, |_| Winner::Hold).set.len(), 2);
        assert!(converge(&views, Touch::CreateOnly, |_| Winner::Hold).set.is_empty());
    }
}

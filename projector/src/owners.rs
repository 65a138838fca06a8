//! Owners of the source, and the users of the destination that they become.

use std::collections::BTreeMap;

use waybill_ledger::{Record, User, event::OwnerHow};

use crate::mapping::OwnerPlan;

/// What an owner became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerResolution {
    /// The owner's id in the source; empty for records without one.
    pub source: String,
    /// The e-mail that was compared.
    pub email: Option<String>,
    /// The id of the user in the destination, if there is one.
    pub user: Option<String>,
    /// How.
    pub how: OwnerHow,
}

impl OwnerResolution {
    /// Returns whether a person still has to decide.
    pub fn is_undecided(&self) -> bool {
        matches!(self.how, OwnerHow::Unmatched | OwnerHow::Inactive | OwnerHow::Ambiguous)
    }
}

/// The plan names someone who cannot own records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan gives records to `{email}`, but {why}")]
pub struct BadFallback {
    /// The e-mail.
    pub email: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Resolves every owner, by e-mail without regard to case, and by what people decided.
pub fn resolve<'a>(
    plan: &OwnerPlan,
    owners: impl Iterator<Item = &'a Record>,
    users: &[User],
) -> Result<BTreeMap<String, OwnerResolution>, BadFallback> {
    let mut by_email: BTreeMap<String, Vec<&User>> = BTreeMap::new();
    for user in users {
        by_email.entry(user.email.trim().to_lowercase()).or_default().push(user);
    }
    let named = |email: &str| -> Result<String, BadFallback> {
        let bad = |why| BadFallback { email: email.to_owned(), why };
        let found = by_email.get(&email.trim().to_lowercase()).map_or(&[][..], Vec::as_slice);
        let mut active = found.iter().filter(|user| user.active);
        match (active.next(), active.next()) {
            (Some(user), None) => Ok(user.id.clone()),
            (Some(_), Some(_)) => Err(bad("several active users of the destination have that e-mail")),
            (None, _) if found.is_empty() => Err(bad("no user of the destination has that e-mail")),
            (None, _) => Err(bad("that user of the destination is inactive")),
        }
    };
    let mut resolved = BTreeMap::new();
    for owner in owners {
        let email = owner.fields.text(&plan.email).map(|email| email.trim().to_owned());
        let found = email.as_ref().and_then(|email| by_email.get(&email.to_lowercase())).map_or(&[][..], Vec::as_slice);
        let mut active = found.iter().filter(|user| user.active);
        let (mut user, mut how) = match (active.next(), active.next()) {
            (Some(user), None) => (Some(user.id.clone()), OwnerHow::Email),
            (Some(_), Some(_)) => (None, OwnerHow::Ambiguous),
            (None, _) if found.is_empty() => (None, OwnerHow::Unmatched),
            (None, _) => (None, OwnerHow::Inactive),
        };
        let decided = email.iter().chain([&owner.id]).find_map(|name| {
            plan.decided.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, decision)| decision)
        });
        if user.is_none() {
            match decided.map(String::as_str) {
                Some("hold") => how = OwnerHow::Hold,
                Some(email) => (user, how) = (Some(named(email)?), OwnerHow::Fallback),
                None => {
                    if let Some(email) = &plan.fallback {
                        (user, how) = (Some(named(email)?), OwnerHow::Fallback);
                    }
                }
            }
        }
        resolved.insert(owner.id.clone(), OwnerResolution { source: owner.id.clone(), email, user, how });
    }
    let unowned = match &plan.unowned {
        Some(email) => (Some(named(email)?), OwnerHow::Fallback),
        None => (None, OwnerHow::Hold),
    };
    let nobody = OwnerResolution { source: String::new(), email: None, user: unowned.0, how: unowned.1 };
    resolved.insert(String::new(), nobody);
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use waybill_ledger::Field;

    use super::*;

    fn user(id: &str, email: &str, active: bool) -> User {
        User { id: id.into(), name: id.into(), email: email.into(), active }
    }

    fn owner(id: &str, email: &str) -> Record {
        Record { id: id.into(), fields: [("email", Field::from(email))].into_iter().collect() }
    }

    fn plan() -> OwnerPlan {
        OwnerPlan {
            object: "users".into(),
            email: "email".into(),
            fallback: None,
            unowned: None,
            decided: BTreeMap::new(),
        }
    }

    #[test]
    fn only_one_active_user_with_the_same_email_is_a_match() {
        let users = [
            user("A", "Ada@example.com", true),
            user("B", "bo@example.com", false),
            user("C", "twin@example.com", true),
            user("D", "twin@example.com", true),
        ];
        let owners = [
            owner("1", "ada@EXAMPLE.com"),
            owner("2", "bo@example.com"),
            owner("3", "twin@example.com"),
            owner("4", "x@example.com"),
        ];
        let resolved = resolve(&plan(), owners.iter(), &users).unwrap();
        let how: Vec<OwnerHow> = ["1", "2", "3", "4"].iter().map(|id| resolved[*id].how).collect();
        assert_eq!(how, [OwnerHow::Email, OwnerHow::Inactive, OwnerHow::Ambiguous, OwnerHow::Unmatched]);
        assert_eq!(resolved["1"].user.as_deref(), Some("A"));
        assert!(resolved["3"].is_undecided());
    }

    #[test]
    fn a_decision_counts_and_an_impossible_one_is_refused() {
        let users = [user("A", "ada@example.com", true), user("B", "bo@example.com", false)];
        let owners = [owner("4", "x@example.com"), owner("5", "y@example.com")];
        let mut plan = plan();
        plan.decided.insert("X@example.com".into(), "hold".into());
        plan.fallback = Some("ada@example.com".into());
        let resolved = resolve(&plan, owners.iter(), &users).unwrap();
        assert_eq!((resolved["4"].how, resolved["5"].how), (OwnerHow::Hold, OwnerHow::Fallback));
        assert_eq!(resolved["5"].user.as_deref(), Some("A"));
        plan.fallback = Some("bo@example.com".into());
        assert!(resolve(&plan, owners.iter(), &users).is_err());
    }
}

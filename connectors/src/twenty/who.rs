//! Who we are in the rows that we change: a row says who changed it last by the name of the key, and by nothing else.
//!
//! So the name must be known, and be that of our key alone: otherwise a rollback would take other people's work for ours, or
//! ours for theirs.

use serde_json::Value as Json;

use super::{
    SYSTEM, Twenty,
    values::{self, Row},
};
use crate::error::RemoteError;

const NAME_IT: &str = "give the key's role the right to see API keys, or set key_name under [destination] in waybill.toml to what the key is called";
const RENAME: &str = "give one of the keys another name, or revoke the one that is not needed";

fn untold(what: &str, hint: &'static str) -> RemoteError {
    RemoteError::Untold { system: SYSTEM.to_owned(), what: what.to_owned(), hint }
}

impl Twenty {
    /// Returns how rows name us.
    pub(super) async fn who(&self) -> Result<String, RemoteError> {
        let keys = match self.wire.get("its keys", "/rest/apiKeys").await {
            Ok(keys) => keys,
            Err(RemoteError::Refused { .. }) => Json::Null,
            // Missing rights are 400; a key that is revoked is 403, and says nothing of who we are.
            Err(RemoteError::Forbidden { code, .. }) if code != "FORBIDDEN_EXCEPTION" => Json::Null,
            Err(error) => return Err(error),
        };
        let keys = keys.as_array().or_else(|| keys["data"].as_array()).cloned().unwrap_or_default();
        let id = self.wire.claims().and_then(|claims| claims["jti"].as_str().map(str::to_owned));
        let name = own_name(&keys, id.as_deref())?;
        let name = name.or_else(|| self.key_name.clone()).ok_or_else(|| {
            untold("what our key is called, by which rows that we changed are told from those that others did", NAME_IT)
        })?;
        Ok(named(&name))
    }

    /// Stops before anything is sent if rows of ours have shown that the key is called otherwise than we were told.
    pub(super) fn must_be_called_so(&self) -> Result<(), RemoteError> {
        let Some(name) = self.misnamed.get() else { return Ok(()) };
        let told = self.key_name.as_deref().unwrap_or_default();
        let what = format!("rows of ours from others by the name `{told}`: our key is called `{name}`");
        Err(untold(
            &what,
            "set key_name under [destination] in waybill.toml to that, then run the same command again: it goes on",
        ))
    }

    /// Looks at what a row that we have just written says of who wrote it.
    pub(super) fn learn_name(&self, row: &Row) {
        let Some(told) = &self.key_name else { return };
        if let Some(by) = row.get("updatedBy").map(values::actor).filter(|by| *by != named(told)) {
            // Whoever came first has said the same.
            let _ = self.misnamed.set(by.trim_start_matches("API:").to_owned());
        }
    }
}

fn named(name: &str) -> String {
    format!("API:{name}")
}

/// Returns the name of our key among those that the server lists, if it is there.
fn own_name(keys: &[Json], id: Option<&str>) -> Result<Option<String>, RemoteError> {
    let own = keys.iter().find(|key| id.is_some_and(|id| key["id"] == id));
    let Some(own) = own.or_else(|| keys.first().filter(|_| keys.len() == 1)) else { return Ok(None) };
    let works = |key: &&Json| key["revokedAt"].is_null();
    if keys.iter().filter(works).any(|key| key["id"] != own["id"] && key["name"] == own["name"]) {
        return Err(untold("our key from another one of the same name, and so not whose changes a row holds", RENAME));
    }
    Ok(own["name"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_known_by_its_id_and_never_shares_its_name() {
        let key = |id: &str, name: &str, revoked: Json| json!({ "id": id, "name": name, "revokedAt": revoked });
        let keys = [key("1", "Waybill", Json::Null), key("2", "Other", Json::Null), key("3", "Waybill", json!("2026"))];
        assert_eq!(own_name(&keys, Some("1")), Ok(Some("Waybill".to_owned())));
        assert_eq!(own_name(&keys[..1], None), Ok(Some("Waybill".to_owned())));
        assert_eq!(own_name(&keys, Some("9")), Ok(None));
        assert_eq!(own_name(&[], Some("1")), Ok(None));
        let twins = [key("1", "Waybill", Json::Null), key("2", "Waybill", Json::Null)];
        assert!(matches!(own_name(&twins, Some("1")), Err(RemoteError::Untold { .. })));
    }
}

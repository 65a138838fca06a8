//! Opening a bundle: which file is what, is it whole, and is it what the profile says.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use super::{
    Account, Bundle, BundleError, BundleObject, Extent, Identity, Item, Profile,
    cell::{ColumnSpec, Conventions, Values},
    container::{Container, Entry},
    custom::CustomColumns,
    gone::GoneList,
    manifest::{self, Manifest, ManifestObject},
    part::{Format, Part},
    pledge::check_all,
    profile::{ObjectProfile, Text, fits},
    recipe::{Recipe, Route},
    recognise::Look,
    table::Declared,
};

/// The share of columns below which an export with a manifest is not believed.
const LEAST_SHARE: f64 = 0.3;

/// Everything that is known while an export is being opened.
struct Opening<'a> {
    profile: &'a Profile,
    container: &'a Container,
    manifest: Option<Manifest>,
    custom: CustomColumns,
}

/// One object as the profile names it, before its files were looked at.
struct Claim<'a> {
    profile: &'a ObjectProfile,
    name: String,
    files: Vec<(&'a str, &'a Entry, Route)>,
}

/// Opens what lies in a container, and holds its files against the digests of its manifest if `check` says so; `path` is where
/// people find it.
pub(super) fn open(container: Container, path: &Path, profile: &Profile, check: bool) -> Result<Bundle, BundleError> {
    let manifest = Manifest::read(&container)?;
    let pledges = match &manifest {
        Some(manifest) => manifest.pledges(&container)?,
        None => Vec::new(),
    };
    if check {
        check_all(&pledges)?;
    }
    match opened(container, path, profile, manifest) {
        Ok(bundle) => Ok(Bundle { pledges: pledges.into(), ..bundle }),
        // Of a file that is not what the manifest says, nothing else that is wrong with it is worth telling.
        Err(error) if check => Err(error),
        Err(error) => check_all(&pledges).and(Err(error)),
    }
}

fn opened(
    container: Container,
    path: &Path,
    profile: &Profile,
    manifest: Option<Manifest>,
) -> Result<Bundle, BundleError> {
    let mut opening = Opening { profile, container: &container, manifest, custom: CustomColumns::default() };
    let evidence = opening.recognise()?;
    opening.custom = opening.custom_columns()?;
    let (claims, unread) = opening.claims();
    let mut notes = Vec::new();
    let mut objects = Vec::new();
    for claim in claims {
        objects.push(opening.object(claim)?);
    }
    let gone = opening.gone(&mut objects, &mut notes)?;
    let matched = opening.matched(&objects, path)?;
    let identity = opening.identity(evidence, matched)?;
    let custom = opening.custom;
    Ok(Bundle { container, identity, objects, custom, gone, unread, notes, pledges: Arc::default() })
}

impl<'a> Opening<'a> {
    /// Says by what the export is known, or refuses it.
    fn recognise(&self) -> Result<String, BundleError> {
        let profile = self.profile;
        let refuse = |looks_like: Option<String>, found: String| {
            Err(BundleError::UnknownShape { expected: profile.label.clone(), looks_like, found })
        };
        if let Some(manifest) = &self.manifest {
            return match &profile.product {
                Some(product) if !product.eq_ignore_ascii_case(&manifest.product) => {
                    let named = if manifest.product.is_empty() { "a product without name" } else { &manifest.product };
                    refuse(Some(format!("a bundle of {named}")), format!("a manifest for {named}"))
                }
                _ => Ok(format!("{} for {}", manifest::FILE, manifest.product)),
            };
        }
        let (claims, _) = self.claims();
        let found = claims.iter().filter(|claim| !claim.files.is_empty()).count();
        let Some(signs) = &profile.recognise else {
            let names: Vec<&str> = claims.iter().map(|claim| claim.name.as_str()).collect();
            if found == 0 {
                return refuse(None, Look::at(self.container).describe());
            }
            return Ok(format!("file names: {}", names.join(", ")));
        };
        let look = Look::at(self.container);
        if let Some((name, seen)) = look.foreign(&profile.system) {
            return refuse(Some(name), format!("{} (seen: {})", look.describe(), seen.join(", ")));
        }
        if found < signs.objects.max(1) {
            return refuse(None, look.describe());
        }
        let names: Vec<&str> = claims.iter().map(|claim| claim.name.as_str()).collect();
        Ok(format!("no manifest; file names: {}", names.join(", ")))
    }

    /// Gives every file to the objects whose rows it holds; what nobody takes is left over.
    fn claims(&self) -> (Vec<Claim<'a>>, Vec<String>) {
        let profile = self.profile;
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        let mut claims = Vec::new();
        let readable: Vec<(&'a str, &'a Entry)> = self
            .container
            .entries()
            .filter(|(path, _)| !self.is_excluded(path) && Format::of(path).is_some())
            .collect();
        for object in &profile.objects {
            let listed = self.listed(|listed| object.answers_to(&listed.name));
            let mut files = Vec::new();
            for &(path, entry) in &readable {
                let in_manifest =
                    listed.is_some_and(|listed| listed.files.iter().any(|file| file.eq_ignore_ascii_case(path)));
                let shared =
                    object.shared.as_ref().filter(|shared| shared.files.iter().any(|pattern| fits(pattern, path)));
                let route = if in_manifest || object.owns(path) {
                    Route::left(profile, path)
                } else if let Some(shared) = shared {
                    Route::only(shared)
                } else {
                    continue;
                };
                taken.insert(path);
                files.push((path, entry, route));
            }
            if !files.is_empty() {
                claims.push(Claim { profile: object, name: object.name.clone(), files });
            }
        }
        for family in &profile.families {
            for &(path, entry) in &readable {
                let stem = path.rsplit('/').next().unwrap_or(path).split('.').next().unwrap_or(path);
                if taken.contains(path) || !family.files.iter().any(|pattern| fits(pattern, path)) {
                    continue;
                }
                taken.insert(path);
                let name = family.name.replace('*', stem);
                let file = (path, entry, Route::All);
                match claims.iter_mut().find(|claim: &&mut Claim<'_>| claim.name.eq_ignore_ascii_case(&name)) {
                    Some(claim) => claim.files.push(file),
                    None => claims.push(Claim { profile: family, name, files: vec![file] }),
                }
            }
        }
        let lists = [profile.deletions.as_ref().map(|list| &list.file), profile.merges.as_ref().map(|list| &list.file)];
        let stem = |path: &str| path.rsplit_once('.').map_or(path, |(stem, _)| stem).to_lowercase();
        let is_list =
            |path: &str| Format::of(path).is_some() && lists.iter().flatten().any(|file| stem(file) == stem(path));
        let unread = self
            .container
            .entries()
            .map(|(path, _)| path)
            .filter(|path| !taken.contains(path) && !self.is_excluded(path) && !is_list(path))
            .map(str::to_owned)
            .collect();
        (claims, unread)
    }

    fn is_excluded(&self, path: &str) -> bool {
        path.eq_ignore_ascii_case(manifest::FILE)
            || path.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case("files") && path.contains('/'))
            || self.profile.exclude.iter().any(|pattern| fits(pattern, path))
    }

    fn listed(&self, is: impl Fn(&ManifestObject) -> bool) -> Option<&ManifestObject> {
        self.manifest.as_ref()?.objects.iter().find(|listed| is(listed))
    }

    fn conventions(&self, values: &Values) -> Arc<Conventions> {
        let named = self.manifest.as_ref().and_then(|manifest| manifest.account.time_zone.as_ref());
        let zone = named.or(values.time_zone.as_ref()).and_then(|zone| zone.parse().ok());
        Arc::new(Conventions { values: values.clone(), zone })
    }

    /// Looks at the files of one object.
    fn object(&self, claim: Claim<'a>) -> Result<BundleObject, BundleError> {
        let Claim { profile: object, name, files } = claim;
        let mut words = vec![name.clone()];
        words.extend(object.called.iter().cloned());
        let spoken: Vec<&str> = words.iter().map(String::as_str).collect();
        let specs = self.custom.specs(&spoken);
        let listed = self.listed(|listed| words.iter().any(|word| word.eq_ignore_ascii_case(&listed.name)));
        let recipe = Recipe::new(
            self.profile,
            object,
            &specs,
            self.conventions(object.values.as_ref().unwrap_or(&self.profile.values)),
        );
        let text = object.text.as_ref().unwrap_or(&self.profile.text);
        let mut parts = Vec::new();
        let mut notes = Vec::new();
        for (path, entry, route) in files {
            let declared = declared(listed, text);
            let format = listed
                .filter(|listed| listed.files.iter().any(|file| file.eq_ignore_ascii_case(path)))
                .and_then(|listed| Format::of(listed.format.as_ref()?))
                .or_else(|| Format::of(path));
            let Some(format) = format else { continue };
            let mut recipe = recipe.clone();
            recipe.route = route;
            let mut part = Part::plan(path, entry, format, &declared, recipe, &name, &object.or_key.0)?;
            notes.append(&mut part.notes);
            if let Some(listed) = listed
                && !listed.files.iter().any(|file| file.eq_ignore_ascii_case(path))
            {
                notes.push(format!("{path} is not in the manifest"));
            }
            parts.push(part);
        }
        let mut columns: Vec<String> = Vec::new();
        for part in &parts {
            let new: Vec<String> = part.columns.iter().filter(|column| !columns.contains(column)).cloned().collect();
            if !columns.is_empty()
                && !part.columns.is_empty()
                && (!new.is_empty() || part.columns.len() < columns.len())
            {
                notes.push(format!("{} has other columns than the files before it", part.path));
            }
            columns.extend(new);
        }
        let unknown =
            columns.iter().filter(|column| parts.iter().all(|part| !part.recipe.knows(column))).cloned().collect();
        let key = parts.first().map_or_else(|| object.key.0.clone(), |part| part.recipe.key.clone());
        // Rows of a shared file are counted where the file belongs, not by the objects that take from it.
        let whole = parts.iter().all(|part| matches!(part.recipe.route, Route::All));
        Ok(BundleObject {
            rows: listed.and_then(|listed| listed.rows).filter(|_| whole),
            source_total: listed.and_then(|listed| listed.source_total),
            capped: listed.is_some_and(|listed| listed.capped),
            visible_columns_only: listed.is_some_and(|listed| {
                listed.columns.as_deref().is_some_and(|shown| shown.eq_ignore_ascii_case("visible"))
            }),
            files: parts.iter().map(|part| part.path.clone()).collect(),
            links: self.links(object, &columns),
            reference: object.reference,
            words: words.into(),
            name,
            columns,
            unknown,
            key,
            notes,
            parts,
        })
    }

    fn links(&self, object: &ObjectProfile, columns: &[String]) -> BTreeMap<String, Vec<String>> {
        let mut links = BTreeMap::new();
        for (column, to) in self.profile.links.iter().chain(&object.links) {
            if columns.contains(column) {
                links.insert(column.clone(), to.0.clone());
            }
        }
        links
    }

    /// Reads a small table of the convention itself, all of whose cells are text.
    fn list(&self, file: &str, times: &[&Option<String>]) -> Result<Option<Part>, BundleError> {
        // The convention names tables; a source that speaks JSON has the same lists as lines.
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let others = ["jsonl", "json"].map(|extension| format!("{stem}.{extension}"));
        let found = self.container.get(file).or_else(|| others.iter().find_map(|other| self.container.get(other)));
        let Some((path, entry)) = found else { return Ok(None) };
        let Some(format) = Format::of(path) else { return Ok(None) };
        let profile = ObjectProfile::plain(path);
        let mut specs: BTreeMap<String, ColumnSpec> = BTreeMap::new();
        for column in times.iter().copied().flatten() {
            specs.insert(column.clone(), super::cell::Kind::Time.into());
        }
        let bare = Profile { columns: specs, ..self.profile.clone() };
        let recipe = Recipe::new(&bare, &profile, &BTreeMap::new(), self.conventions(&self.profile.values));
        let declared = declared(None, &self.profile.text);
        Part::plan(path, entry, format, &declared, recipe, path, &[]).map(Some)
    }

    fn custom_columns(&self) -> Result<CustomColumns, BundleError> {
        let mut found = CustomColumns::default();
        let Some(custom) = &self.profile.custom else { return Ok(found) };
        let Some(part) = self.list(&custom.file, &[])? else { return Ok(found) };
        let opened = part.open().map_err(|source| BundleError::Io { file: part.path.clone(), source })?;
        for item in opened {
            match item {
                Item::Record { record, .. } => found.add(&record.fields, &custom.prefix),
                Item::Unreadable { origin, reason } => {
                    return Err(BundleError::Unreadable { file: origin.file, line: origin.line, reason });
                }
                Item::Gone { .. } => {}
            }
        }
        Ok(found)
    }

    /// Finds the lists of what is gone. An object of which nothing but deletions came is an object all the same.
    fn gone(&self, objects: &mut Vec<BundleObject>, notes: &mut Vec<String>) -> Result<Vec<GoneList>, BundleError> {
        let mut lists = Vec::new();
        if let Some(columns) = &self.profile.deletions
            && let Some(part) = self.list(&columns.file, &[&columns.at])?
        {
            lists.push(GoneList::deletions(part, columns));
        }
        if let Some(columns) = &self.profile.merges
            && let Some(part) = self.list(&columns.file, &[&columns.at])?
        {
            lists.push(GoneList::merges(part, columns));
        }
        for list in &lists {
            for word in list.check()? {
                let known = objects.iter().any(|object| object.words.iter().any(|own| own.eq_ignore_ascii_case(&word)));
                if known {
                    continue;
                }
                match self.profile.object(&word) {
                    Some(profile) => {
                        let claim = Claim { profile, name: profile.name.clone(), files: Vec::new() };
                        objects.push(self.object(claim)?);
                    }
                    None => notes.push(format!("{} names {word:?}, which is no object of this export", list.file())),
                }
            }
        }
        Ok(lists)
    }

    /// Returns the share of columns that the profile knows; too small a share means that this is something else.
    #[expect(clippy::cast_precision_loss, reason = "a share of column counts")]
    fn matched(&self, objects: &[BundleObject], path: &Path) -> Result<f64, BundleError> {
        let columns: usize = objects.iter().map(|object| object.columns.len()).sum();
        let unknown: usize = objects.iter().map(|object| object.unknown.len()).sum();
        let matched = if columns == 0 { 1.0 } else { (columns - unknown) as f64 / columns as f64 };
        let least = match (&self.manifest, &self.profile.recognise) {
            (None, Some(signs)) => signs.share,
            (Some(_), Some(_)) => LEAST_SHARE,
            (_, None) => 0.0,
        };
        let look = || Look::at(self.container);
        if matched < least {
            return Err(BundleError::UnknownShape {
                expected: self.profile.label.clone(),
                looks_like: look().foreign(&self.profile.system).map(|(name, _)| name),
                found: look().describe(),
            });
        }
        if objects.is_empty() && self.manifest.as_ref().is_none_or(|manifest| !manifest.objects.is_empty()) {
            let found = format!("{} holds {}", path.display(), look().describe());
            return Err(BundleError::UnknownShape { expected: self.profile.label.clone(), looks_like: None, found });
        }
        Ok(matched)
    }

    fn identity(&self, evidence: String, matched: f64) -> Result<Identity, BundleError> {
        let Some(manifest) = self.manifest.clone() else {
            return Ok(Identity {
                product: self.profile.label.clone(),
                variant: None,
                evidence,
                matched,
                manifest: false,
                account: Account { time_zone: self.profile.values.time_zone.clone(), ..Account::default() },
                exported_at: None,
                bundle_id: None,
                sequence: None,
                previous_bundle_id: None,
                extent: Extent::Full,
                notes: None,
            });
        };
        let bad = |reason: String| BundleError::Manifest { file: manifest::FILE.to_owned(), reason };
        let extent = match manifest.kind.as_deref() {
            None | Some("full") => Extent::Full,
            Some("delta") => Extent::Delta { since: manifest.since },
            Some(other) => return Err(bad(format!("its kind is {other:?}; full or delta is expected"))),
        };
        let account = manifest.account;
        if let Some(zone) = &account.time_zone
            && zone.parse::<chrono_tz::Tz>().is_err()
        {
            return Err(bad(format!("its time zone {zone:?} is not in the IANA database")));
        }
        Ok(Identity {
            product: self.profile.label.clone(),
            variant: manifest.product_variant,
            evidence,
            matched,
            manifest: true,
            account: Account {
                id: account.id.map(manifest::Id::into_text),
                name: account.name,
                time_zone: account.time_zone.or_else(|| self.profile.values.time_zone.clone()),
                locale: account.locale,
                currency: account.currency,
                phone_region: account.phone_region,
                workspace: account.workspace,
            },
            exported_at: manifest.exported_at,
            bundle_id: manifest.bundle_id,
            sequence: manifest.sequence,
            previous_bundle_id: manifest.previous_bundle_id,
            extent,
            notes: manifest.notes,
        })
    }
}

/// Returns what is declared about the text of an object's files; the manifest comes first.
fn declared(listed: Option<&ManifestObject>, text: &Text) -> Declared {
    let delimiter = listed.and_then(|listed| listed.delimiter.as_deref()).and_then(|word| match word {
        "\\t" | "tab" => Some('\t'),
        word => word.chars().next(),
    });
    Declared {
        encoding: listed.and_then(|listed| listed.encoding.clone()).or_else(|| text.encoding.clone()),
        delimiter: delimiter.or(text.delimiter),
        skip_lines: text.skip_lines,
    }
}

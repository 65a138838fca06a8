//! The order of loading, derived from what points to what.

use std::collections::{BTreeMap, BTreeSet};

use waybill_ledger::{ObjectName, RuleId};

use crate::mapping::Plan;

/// The rules of one destination object, which load together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// The destination object.
    pub object: ObjectName,
    /// The rules.
    pub rules: Vec<RuleId>,
}

/// Objects that point to each other in a circle, so that none can come first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these objects point to each other, so none of them can be loaded first: {}", .0.join(" → "))]
pub struct Circle(pub Vec<String>);

impl Plan {
    /// Returns the phases of a load, parents first.
    pub fn phases(&self) -> Result<Vec<Phase>, Circle> {
        let mut needs: BTreeMap<ObjectName, BTreeSet<ObjectName>> = BTreeMap::new();
        for object in self.rules().iter().map(|rule| &rule.to).chain(self.seeds().iter().map(|seed| &seed.to)) {
            needs.entry(object.clone()).or_default();
        }
        for rule in self.rules() {
            for field in rule.fields.values() {
                let sources = field.objects().flat_map(|object| {
                    let lands = self.rules().iter().filter(move |other| other.from == object);
                    lands.filter(|other| field.rule.as_ref().is_none_or(|id| *id == other.id)).map(|other| &other.to)
                });
                let seeds =
                    self.seeds().iter().filter(|seed| field.seed.as_ref() == Some(&seed.id)).map(|seed| &seed.to);
                let parents: BTreeSet<ObjectName> =
                    sources.chain(seeds).filter(|to| **to != rule.to).cloned().collect();
                needs.entry(rule.to.clone()).or_default().extend(parents);
            }
        }
        let mut phases = Vec::new();
        while !needs.is_empty() {
            let Some(object) = needs.iter().find(|(_, parents)| parents.is_empty()).map(|(object, _)| object.clone())
            else {
                return Err(Circle(circle(&needs)));
            };
            needs.remove(&object);
            for parents in needs.values_mut() {
                parents.remove(&object);
            }
            let rules = self.rules().iter().filter(|rule| rule.to == object).map(|rule| rule.id.clone()).collect();
            phases.push(Phase { object, rules });
        }
        Ok(phases)
    }
}

fn circle(needs: &BTreeMap<ObjectName, BTreeSet<ObjectName>>) -> Vec<String> {
    let mut walk: Vec<ObjectName> = needs.keys().next().cloned().into_iter().collect();
    while let Some(next) = walk.last().and_then(|at| needs.get(at)).and_then(|parents| parents.iter().next()) {
        let next = next.clone();
        if let Some(start) = walk.iter().position(|seen| *seen == next) {
            walk.push(next);
            return walk[start..].iter().map(ToString::to_string).collect();
        }
        walk.push(next);
    }
    walk.iter().map(ToString::to_string).collect()
}

/// Follows every record to its parent, and returns the circles: each as the ids from one member back to itself.
///
/// `parents` has every record once, with the parent it names.
pub fn find_cycles(parents: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut cycles = Vec::new();
    for start in parents.keys() {
        let (mut path, mut places): (Vec<&str>, BTreeMap<&str, usize>) = (Vec::new(), BTreeMap::new());
        let mut at = start.as_str();
        while !done.contains(at) {
            if let Some(place) = places.get(at) {
                let mut cycle: Vec<String> = path[*place..].iter().map(|id| (*id).to_owned()).collect();
                cycle.push(at.to_owned());
                cycles.push(cycle);
                break;
            }
            places.insert(at, path.len());
            path.push(at);
            match parents.get(at) {
                Some(parent) => at = parent,
                None => break,
            }
        }
        done.extend(path);
    }
    cycles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> BTreeMap<String, String> {
        edges.iter().map(|(child, parent)| ((*child).to_owned(), (*parent).to_owned())).collect()
    }

    #[test]
    fn every_circle_is_found_once_and_trees_are_none() {
        assert!(find_cycles(&graph(&[("a", "b"), ("b", "c"), ("d", "c"), ("e", "nobody")])).is_empty());
        assert_eq!(find_cycles(&graph(&[("a", "a")])), [["a", "a"]]);
        let cycles = find_cycles(&graph(&[("x", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("p", "q"), ("q", "p")]));
        assert_eq!(cycles, [vec!["a", "b", "c", "a"], vec!["p", "q", "p"]]);
    }
}

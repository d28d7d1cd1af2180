//! What is said of policies, at the Gateways that they count for.

use eddy_gateway_api::types::{GROUP, ParentReference, PolicyAncestorStatus, PolicyStatus};
use eddy_gateway_api::{Authorities, CONTROLLER, Place, PolicyDecision, Problem};
use jiff::Timestamp;

use super::conditions::Conditions;

/// More are refused.
const ANCESTORS_MAX: usize = 16;

/// `wrong` says what is wrong with a ConfigMap. What others say stays.
pub(super) fn policy(
    before: &PolicyStatus,
    generation: Option<i64>,
    decided: Option<&PolicyDecision>,
    wrong: impl Fn(&Place) -> Option<String>,
    now: Timestamp,
) -> PolicyStatus {
    let is_ours = |status: &&PolicyAncestorStatus| status.controller_name == CONTROLLER;
    let mut ancestors: Vec<_> = before.ancestors.iter().filter(|status| !is_ours(status)).cloned().collect();
    let Some(decided) = decided else { return PolicyStatus { ancestors } };
    let maps = decided.tls.config_maps();
    let wrongs: Vec<String> = maps.iter().filter_map(wrong).collect();
    let of_map = wrongs.first().map(|message| problem("InvalidCACertificateRef", message));
    let unresolved = decided.unresolved.clone().or(of_map);
    let is_nobody = !matches!(decided.tls.authorities, Authorities::WellKnown) && wrongs.len() == maps.len();
    let nobody = is_nobody.then(|| problem("NoValidCACertificate", "validation.caCertificateRefs: none can be used"));
    let obstacle = decided.problem.clone().or(nobody);
    let won = decided.gateways.iter().map(|gateway| (gateway, decided.lost.get(gateway)));
    let lost = decided.lost.iter().filter(|(gateway, _)| !decided.gateways.contains(*gateway));
    for (gateway, older) in won.chain(lost.map(|(gateway, older)| (gateway, Some(older)))) {
        let conflict = older.map(|older| problem("Conflicted", &format!("BackendTLSPolicy {older} is older and for the same")));
        let obstacle = conflict.as_ref().or(obstacle.as_ref());
        let ancestor_ref = ParentReference {
            group: Some(GROUP.to_owned()),
            kind: Some("Gateway".to_owned()),
            namespace: Some(gateway.namespace.clone()),
            name: gateway.name.clone(),
            section_name: None,
            port: None,
        };
        let known = before.ancestors.iter().filter(is_ours).find(|status| status.ancestor_ref == ancestor_ref);
        let mut conditions = Conditions::new(known.map(|known| &*known.conditions).unwrap_or_default(), generation, now);
        conditions.unless(obstacle, "Accepted", ("Accepted", "backends are reached by TLS as it says"));
        conditions.unless(unresolved.as_ref(), "ResolvedRefs", ("ResolvedRefs", "all that it names is there"));
        let status = PolicyAncestorStatus { ancestor_ref, controller_name: CONTROLLER.to_owned(), conditions: conditions.end() };
        if ancestors.len() < ANCESTORS_MAX {
            ancestors.push(status);
        }
    }
    PolicyStatus { ancestors }
}

fn problem(reason: &'static str, message: &str) -> Problem {
    Problem { reason, message: message.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use eddy_gateway_api::BackendTls;
    use serde_json::json;

    use super::*;

    fn decided(maps: &[&str]) -> PolicyDecision {
        let authorities = Authorities::ConfigMaps(maps.iter().map(|name| Place::new("infra", name)).collect());
        PolicyDecision {
            policy: Place::new("infra", "p"),
            tls: Arc::new(BackendTls { authorities, hostname: "a.example".into(), names: Vec::new() }),
            problem: None,
            unresolved: None,
            gateways: [Place::new("infra", "g")].into(),
            lost: Default::default(),
        }
    }

    #[test]
    fn a_policy_is_accepted_while_somebody_is_believed() {
        let other = json!({"ancestorRef": {"name": "x"}, "controllerName": "other.example/c", "conditions": []});
        let before: PolicyStatus = serde_json::from_value(json!({"ancestors": [other]})).unwrap();
        let of = |decided: &PolicyDecision, before: &PolicyStatus, missing: &str, second| {
            let wrong = |map: &Place| (map.name == missing).then(|| "there is none".to_owned());
            policy(before, Some(3), Some(decided), wrong, Timestamp::from_second(second).unwrap())
        };
        let said = |status: &PolicyStatus| -> Vec<(String, String)> {
            assert_eq!((status.ancestors.len(), status.ancestors[0].controller_name.as_str()), (2, "other.example/c"));
            let conditions = &status.ancestors[1].conditions;
            conditions.iter().map(|one| (one.status.clone(), one.reason.clone())).collect()
        };
        let is = |all: [(&str, &str); 2]| all.map(|(status, reason)| (status.to_owned(), reason.to_owned())).to_vec();
        let good = of(&decided(&["a", "b"]), &before, "", 1);
        assert_eq!(said(&good), is([("True", "Accepted"), ("True", "ResolvedRefs")]));
        assert_eq!(of(&decided(&["a", "b"]), &good, "", 2), good, "nothing changed");
        let partly = of(&decided(&["a", "b"]), &good, "a", 2);
        assert_eq!(said(&partly), is([("True", "Accepted"), ("False", "InvalidCACertificateRef")]));
        let none = of(&decided(&["a"]), &good, "a", 2);
        assert_eq!(said(&none), is([("False", "NoValidCACertificate"), ("False", "InvalidCACertificateRef")]));
        let lost = PolicyDecision { lost: [(Place::new("infra", "g"), Place::new("infra", "older"))].into(), ..decided(&["a"]) };
        assert_eq!(said(&of(&lost, &good, "", 2))[0].1, "Conflicted");
        let nowhere = PolicyDecision { gateways: Default::default(), ..decided(&["a"]) };
        assert_eq!(of(&nowhere, &good, "", 2), before);
    }
}

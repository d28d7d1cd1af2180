//! A policy's statements, and what they come to for a request.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::condition::Condition;
use super::pattern::fits;

/// Statements of one policy.
const STATEMENTS_MAX: usize = 100;
const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];

/// Why a policy was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is no JSON, or says something that is not known here.
    #[error("the policy cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// It has no statements, or too many.
    #[error("a policy has 1 to {STATEMENTS_MAX} statements")]
    Statements,
    /// It is in another language.
    #[error("a policy's version is 2012-10-17")]
    Version,
    /// An operator is not known.
    #[error("the condition operator {0:?} is not known")]
    Operator(String),
    /// A statement says too little, or the same twice.
    #[error("a statement has one of {0}")]
    OneOf(&'static str),
    /// All but some people would be allowed.
    #[error("a statement that allows says whom: NotPrincipal is for those that deny")]
    AllButSome,
    /// A statement is about another thing.
    #[error("the resource {0:?} is none of this policy's: it begins with {1:?}")]
    Elsewhere(String, String),
}

/// What a statement does for requests that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Effect {
    /// They may.
    Allow,
    /// They may not, whatever else says that they may.
    Deny,
}

/// A request, as a policy sees it.
pub struct Asked<'a> {
    /// The user who asks, if it is one.
    pub user: Option<&'a str>,
    /// What for, as `s3:GetObject`.
    pub action: &'a str,
    /// Of what, as `arn:aws:s3:::bucket/key`.
    pub resource: &'a str,
    /// The values of the keys that conditions are about.
    pub of_key: &'a dyn Fn(&str) -> Vec<String>,
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy(Vec<Statement>);

#[derive(Clone, Debug)]
struct Statement {
    effect: Effect,
    principals: Named<Vec<Who>>,
    actions: Named<Vec<String>>,
    resources: Named<Vec<String>>,
    conditions: Vec<Condition>,
}

/// These, or all but these.
#[derive(Clone, Debug)]
struct Named<T> {
    these: T,
    but: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Anyone,
    User(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: OneOrMore<RawStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawStatement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    principal: Option<RawPrincipal>,
    not_principal: Option<RawPrincipal>,
    action: Option<OneOrMore<String>>,
    not_action: Option<OneOrMore<String>>,
    resource: Option<OneOrMore<String>>,
    not_resource: Option<OneOrMore<String>>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, OneOrMore<Scalar>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPrincipal {
    All(String),
    Of(BTreeMap<String, OneOrMore<String>>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    More(Vec<T>),
    One(T),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl<T> OneOrMore<T> {
    fn all(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Bool(yes) => yes.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl Policy {
    /// A policy of what begins with this name.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn parse(text: &[u8], resource: &str) -> Result<Self, PolicyError> {
        let document: Document = serde_json::from_slice(text)?;
        if document.version.is_some_and(|version| !VERSIONS.contains(&version.as_str())) {
            return Err(PolicyError::Version);
        }
        let statements = document.statement.all();
        if statements.is_empty() || statements.len() > STATEMENTS_MAX {
            return Err(PolicyError::Statements);
        }
        statements.into_iter().map(|statement| Statement::parse(statement, resource)).collect::<Result<_, _>>().map(Self)
    }

    /// What it comes to for a request: nothing where no statement is about it. What denies is stronger than what allows.
    pub fn decide(&self, asked: &Asked<'_>) -> Option<Effect> {
        let mut decided = None;
        for statement in self.0.iter().filter(|statement| statement.is_about(asked)) {
            if statement.effect == Effect::Deny {
                return Some(Effect::Deny);
            }
            decided = Some(Effect::Allow);
        }
        decided
    }

    /// Whether it allows something to anyone, wherever they are.
    pub fn is_public(&self) -> bool {
        self.0.iter().any(|statement| {
            let anyone = statement.principals.these.contains(&Who::Anyone) && !statement.principals.but;
            statement.effect == Effect::Allow && anyone && !statement.conditions.iter().any(Condition::restricts)
        })
    }
}

impl Statement {
    fn parse(raw: RawStatement, resource: &str) -> Result<Self, PolicyError> {
        let principals = one_of(raw.principal, raw.not_principal, "Principal and NotPrincipal")?;
        if raw.effect == Effect::Allow && principals.but {
            return Err(PolicyError::AllButSome);
        }
        let principals = Named { these: who(principals.these), but: principals.but };
        let actions = one_of(raw.action, raw.not_action, "Action and NotAction")?;
        // They are compared without regard to case.
        let lower = actions.these.all().iter().map(|action| action.to_ascii_lowercase()).collect();
        let actions = Named { these: lower, but: actions.but };
        let resources = one_of(raw.resource, raw.not_resource, "Resource and NotResource")?;
        let (these, but) = (resources.these.all(), resources.but);
        if let Some(other) = these.iter().find(|these| !is_of(these, resource)) {
            return Err(PolicyError::Elsewhere(other.clone(), resource.to_owned()));
        }
        let mut conditions = Vec::new();
        for (operator, keys) in raw.condition {
            for (key, values) in keys {
                let values = values.all().into_iter().map(Scalar::text).collect();
                conditions.push(Condition::parse(&operator, &key, values)?);
            }
        }
        Ok(Self { effect: raw.effect, principals, actions, resources: Named { these, but }, conditions })
    }

    fn is_about(&self, asked: &Asked<'_>) -> bool {
        let is_them = |who: &Who| match who {
            Who::Anyone => true,
            Who::User(user) => asked.user == Some(user),
        };
        let action = asked.action.to_ascii_lowercase();
        self.principals.these.iter().any(is_them) != self.principals.but
            && self.actions.these.iter().any(|pattern| fits(pattern, &action)) != self.actions.but
            && self.resources.these.iter().any(|pattern| fits(pattern, asked.resource)) != self.resources.but
            && self.conditions.iter().all(|condition| condition.holds(asked.of_key))
    }
}

fn one_of<T>(these: Option<T>, but: Option<T>, names: &'static str) -> Result<Named<T>, PolicyError> {
    match (these, but) {
        (Some(these), None) => Ok(Named { these, but: false }),
        (None, Some(these)) => Ok(Named { these, but: true }),
        _ => Err(PolicyError::OneOf(names)),
    }
}

/// Users by their names, or by the end of an ARN of theirs. Who is none of ours is nobody.
fn who(raw: RawPrincipal) -> Vec<Who> {
    let one = |name: &str| match name {
        "*" => Who::Anyone,
        name => Who::User(name.rsplit([':', '/']).next().unwrap_or(name).to_owned()),
    };
    match raw {
        RawPrincipal::All(name) => vec![one(&name)],
        RawPrincipal::Of(mut kinds) => {
            let users = ["AWS", "CanonicalUser"].into_iter().filter_map(|kind| kinds.remove(kind)).flat_map(OneOrMore::all);
            users.map(|name| one(&name)).collect()
        }
    }
}

/// Whether a pattern is of a thing, or of what is in it.
fn is_of(pattern: &str, resource: &str) -> bool {
    let rest = pattern.strip_prefix(resource);
    fits(pattern, resource)
        || fits(pattern, &format!("{resource}/"))
        || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '*']))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BUCKET: &str = "arn:aws:s3:::photos";

    fn policy(statements: &str) -> Result<Policy, PolicyError> {
        let text = format!(r#"{{"Version": "2012-10-17", "Statement": {statements}}}"#);
        Policy::parse(text.as_bytes(), BUCKET)
    }

    fn decide(policy: &Policy, user: Option<&str>, action: &str, key: &str) -> Option<Effect> {
        let resource = format!("{BUCKET}{key}");
        let of_key = |key: &str| if key == "s3:prefix" { vec!["holiday/".to_owned()] } else { Vec::new() };
        policy.decide(&Asked { user, action, resource: &resource, of_key: &of_key })
    }

    #[test]
    fn what_denies_is_stronger() {
        let both = policy(
            r#"[{"Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "arn:aws:s3:::photos/*"},
                {"Effect": "Deny", "Principal": {"AWS": ["arn:aws:iam:::user/bob"]}, "Action": ["s3:GetObject"],
                 "Resource": ["arn:aws:s3:::photos/secret/*"]}]"#,
        )
        .unwrap();
        assert!(both.is_public());
        for (user, action, key, expected) in [
            (None, "s3:GetObject", "/a", Some(Effect::Allow)),
            (Some("bob"), "s3:GetObject", "/a", Some(Effect::Allow)),
            (Some("bob"), "s3:GetObject", "/secret/a", Some(Effect::Deny)),
            (Some("carol"), "s3:getobject", "/secret/a", Some(Effect::Allow)),
            (None, "s3:PutObject", "/a", None),
            (None, "s3:GetObject", "", None),
        ] {
            assert_eq!(decide(&both, user, action, key), expected, "{user:?} {action} {key}");
        }
    }

    #[test]
    fn all_but_some_and_conditions() {
        let others = policy(
            r#"{"Effect": "Deny", "NotPrincipal": {"AWS": "bob"}, "NotAction": "s3:ListBucket", "Resource": "arn:aws:s3:::photos*"}"#,
        )
        .unwrap();
        assert_eq!(decide(&others, Some("carol"), "s3:GetObject", "/a"), Some(Effect::Deny));
        assert_eq!(decide(&others, Some("bob"), "s3:GetObject", "/a"), None);
        assert_eq!(decide(&others, Some("carol"), "s3:ListBucket", ""), None);
        let listing = |prefix: &str| {
            let condition = format!(r#"{{"StringLike": {{"s3:prefix": "{prefix}"}}}}"#);
            let text = r#"{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::photos", "Condition": "#;
            decide(&policy(&format!("{text}{condition}}}")).unwrap(), None, "s3:ListBucket", "")
        };
        assert_eq!((listing("holiday/*"), listing("work/*")), (Some(Effect::Allow), None));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let whole = |more: &str| {
            policy(&format!(
                r#"{{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/*"{more}}}"#
            ))
        };
        assert!(whole("").is_ok());
        for bad in [
            r#", "Unless": {}"#,
            r#", "NotAction": "s3:GetObject""#,
            r#", "Condition": {"StringMaybe": {"a": "b"}}"#,
            r#", "Condition": {"StringEquals": {"a": {}}}"#,
        ] {
            assert!(whole(bad).is_err(), "{bad}");
        }
        for bad in [
            "[]",
            r#"{"Effect": "Allow", "NotPrincipal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/*"}"#,
            r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/*"}"#,
            r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::photos2/*"}"#,
            r#"{"Effect": "allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/*"}"#,
        ] {
            assert!(policy(bad).is_err(), "{bad}");
        }
        assert!(Policy::parse(br#"{"Version": "1", "Statement": []}"#, BUCKET).is_err());
    }

    #[test]
    fn it_is_public_where_just_anyone_may() {
        let of = |principal: &str, condition: &str| {
            let text = r#""Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*", "Effect": "Allow""#;
            policy(&format!(r#"{{{text}, "Principal": {principal}, "Condition": {condition}}}"#)).unwrap().is_public()
        };
        assert!(of(r#""*""#, "{}") && of(r#"{"AWS": "*"}"#, r#"{"StringEquals": {"s3:prefix": "a"}}"#));
        assert!(!of(r#"{"AWS": "bob"}"#, "{}") && !of(r#""*""#, r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#));
        assert!(of(r#""*""#, r#"{"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}"#));
    }
}

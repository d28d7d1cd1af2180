//! Conditions of statements ("IAM JSON policy elements: Condition operators").

use std::net::IpAddr;

use super::document::PolicyError;
use super::pattern::fits;

/// What must be so of one key of a request.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    key: String,
    operator: Operator,
    /// How many of the key's values it must be so of, where it may have several.
    of: Of,
    /// Whether it is so where the key is not there.
    if_exists: bool,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    One,
    Any,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// One of the values fits, or none does.
    Compares { how: Comparison, not: bool },
    /// The key is not there, or is.
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equals,
    EqualsIgnoringCase,
    Like,
    Bool,
    Ip,
    Number(Order),
    Date(Order),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    pub(super) fn parse(name: &str, key: &str, values: Vec<String>) -> Result<Self, PolicyError> {
        let (of, rest) = match name.split_once(':') {
            None => (Of::One, name),
            Some(("ForAnyValue", rest)) => (Of::Any, rest),
            Some(("ForAllValues", rest)) => (Of::All, rest),
            Some(_) => return Err(PolicyError::Operator(name.to_owned())),
        };
        let (rest, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |rest| (rest, true));
        let operator = operator(rest).ok_or_else(|| PolicyError::Operator(name.to_owned()))?;
        Ok(Self { key: key.to_owned(), operator, of, if_exists, values })
    }

    /// Whether it is so of a request, by the values that its keys have.
    pub(super) fn holds(&self, of_key: &dyn Fn(&str) -> Vec<String>) -> bool {
        let found = of_key(&self.key);
        let Operator::Compares { how, not } = self.operator else {
            let absent = self.values.iter().any(|value| value.eq_ignore_ascii_case("true"));
            return found.is_empty() == absent;
        };
        if found.is_empty() {
            return self.if_exists || not || self.of == Of::All;
        }
        let one = |value: &String| self.values.iter().any(|wanted| how.holds(value, wanted)) != not;
        match self.of {
            Of::One | Of::Any => found.iter().any(one),
            Of::All => found.iter().all(one),
        }
    }

    /// Whether it is about where requests come from, so that not just anyone makes them.
    pub(super) fn restricts(&self) -> bool {
        let key = self.key.to_ascii_lowercase();
        let positive = matches!(self.operator, Operator::Compares { not: false, .. }) && !self.if_exists;
        let about = ["aws:sourceip", "aws:username", "aws:userid", "aws:principalarn", "aws:sourcearn", "aws:sourceaccount"];
        positive && about.contains(&key.as_str()) && self.values.iter().all(|value| !value.starts_with(['*', '0']))
    }
}

fn operator(name: &str) -> Option<Operator> {
    let is = |how| Some(Operator::Compares { how, not: false });
    let is_not = |how| Some(Operator::Compares { how, not: true });
    match name {
        "StringEquals" | "ArnEquals" => is(if name == "ArnEquals" { Comparison::Like } else { Comparison::Equals }),
        "StringNotEquals" => is_not(Comparison::Equals),
        "ArnNotEquals" => is_not(Comparison::Like),
        "StringEqualsIgnoreCase" => is(Comparison::EqualsIgnoringCase),
        "StringNotEqualsIgnoreCase" => is_not(Comparison::EqualsIgnoringCase),
        "StringLike" | "ArnLike" => is(Comparison::Like),
        "StringNotLike" | "ArnNotLike" => is_not(Comparison::Like),
        "Bool" => is(Comparison::Bool),
        "IpAddress" => is(Comparison::Ip),
        "NotIpAddress" => is_not(Comparison::Ip),
        "Null" => Some(Operator::Null),
        _ => {
            let (order, of): (&str, fn(Order) -> Comparison) = match (name.strip_prefix("Numeric"), name.strip_prefix("Date")) {
                (Some(order), _) => (order, Comparison::Number),
                (_, Some(order)) => (order, Comparison::Date),
                _ => return None,
            };
            match order {
                "Equals" => is(of(Order::Equal)),
                "NotEquals" => is_not(of(Order::Equal)),
                "LessThan" => is(of(Order::Less)),
                "LessThanEquals" => is(of(Order::LessOrEqual)),
                "GreaterThan" => is(of(Order::Greater)),
                "GreaterThanEquals" => is(of(Order::GreaterOrEqual)),
                _ => None,
            }
        }
    }
}

impl Comparison {
    fn holds(self, value: &str, wanted: &str) -> bool {
        match self {
            Self::Equals => value == wanted,
            Self::EqualsIgnoringCase => value.to_lowercase() == wanted.to_lowercase(),
            Self::Like => fits(wanted, value),
            Self::Bool => value.eq_ignore_ascii_case(wanted),
            Self::Ip => is_within(value, wanted).unwrap_or(false),
            Self::Number(order) => match (value.parse::<f64>(), wanted.parse::<f64>()) {
                (Ok(value), Ok(wanted)) => order.holds(value, wanted),
                _ => false,
            },
            Self::Date(order) => match (seconds(value), seconds(wanted)) {
                (Some(value), Some(wanted)) => order.holds(value, wanted),
                _ => false,
            },
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, value: T, wanted: T) -> bool {
        match self {
            Self::Equal => value == wanted,
            Self::Less => value < wanted,
            Self::LessOrEqual => value <= wanted,
            Self::Greater => value > wanted,
            Self::GreaterOrEqual => value >= wanted,
        }
    }
}

/// Seconds since 1970, of a date of ISO 8601 or of their number.
fn seconds(text: &str) -> Option<f64> {
    let date = || text.parse::<jiff::Timestamp>().ok().map(|date| date.as_millisecond() as f64 / 1000.0);
    text.parse().ok().or_else(date)
}

/// Whether an address is of a network, written as in RFC 4632.
fn is_within(address: &str, network: &str) -> Option<bool> {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let (of, length) = network.split_once('/').map_or((network, None), |(of, length)| (of, Some(length)));
    let (address, network): (IpAddr, IpAddr) = (address.parse().ok()?, of.parse().ok()?);
    let ((address, all), (network, network_all)) = (bits(address), bits(network));
    let length: u32 = length.map_or(Some(all), |length| length.parse().ok()).filter(|length| *length <= all)?;
    let shift = 128 - length;
    Some(all == network_all && (length == 0 || address >> shift == network >> shift))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn holds(name: &str, wanted: &[&str], found: &[&str]) -> bool {
        let wanted = wanted.iter().map(|value| (*value).to_owned()).collect();
        let condition = Condition::parse(name, "key", wanted).unwrap();
        condition.holds(&|_| found.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn operators_are_those_of_the_reference() {
        assert!(holds("StringEquals", &["a", "b"], &["b"]) && !holds("StringEquals", &["a"], &["A"]));
        assert!(holds("StringEqualsIgnoreCase", &["a"], &["A"]) && holds("StringNotEquals", &["a"], &["b"]));
        assert!(!holds("StringNotEquals", &["a", "b"], &["b"]) && holds("StringNotEquals", &["a"], &[]));
        assert!(holds("StringLike", &["a*"], &["abc"]) && !holds("StringNotLike", &["a*"], &["abc"]));
        assert!(!holds("StringEquals", &["a"], &[]) && holds("StringEqualsIfExists", &["a"], &[]));
        assert!(!holds("StringEqualsIfExists", &["a"], &["b"]));
        assert!(holds("NumericLessThanEquals", &["10"], &["9"]) && !holds("NumericLessThan", &["10"], &["x"]));
        assert!(holds("DateGreaterThan", &["2026-01-01T00:00:00Z"], &["1999999999"]));
        assert!(holds("Bool", &["true"], &["true"]) && !holds("Bool", &["true"], &["false"]));
        assert!(holds("IpAddress", &["10.0.0.0/8"], &["10.1.2.3"]) && !holds("IpAddress", &["10.0.0.0/8"], &["11.1.2.3"]));
        assert!(holds("NotIpAddress", &["::1"], &["::2"]) && holds("IpAddress", &["0.0.0.0/0"], &["1.2.3.4"]));
        assert!(!holds("IpAddress", &["::/0"], &["1.2.3.4"]) && !holds("IpAddress", &["10.0.0.0/33"], &["10.0.0.0"]));
        assert!(holds("Null", &["true"], &[]) && holds("Null", &["false"], &["x"]) && !holds("Null", &["true"], &["x"]));
        assert!(holds("ForAllValues:StringEquals", &["a", "b"], &["a", "b"]));
        assert!(!holds("ForAllValues:StringEquals", &["a"], &["a", "c"]));
        assert!(holds("ForAnyValue:StringEquals", &["a"], &["a", "c"]) && !holds("ForAnyValue:StringEquals", &["a"], &[]));
        for unknown in ["Strings", "NumericAlmost", "ForSome:StringEquals", ""] {
            assert!(Condition::parse(unknown, "key", Vec::new()).is_err(), "{unknown}");
        }
    }
}

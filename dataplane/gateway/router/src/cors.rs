//! Which pages of other hosts may ask (Fetch, "CORS protocol").

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Methods that need no leave, and are allowed where none is named.
const SIMPLE_METHODS: &str = "GET, HEAD, POST";

/// Which pages of other hosts may ask, and what they may know.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Vec<Origin>,
    methods: Names,
    headers: Names,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

/// Whose pages.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Any,
    Exact(String),
    /// What comes before the first label of the host, and after it.
    Below(String, String),
}

/// Names that may be sent.
#[derive(Clone, Debug)]
enum Names {
    Any,
    These(Option<HeaderValue>),
}

/// Headers of an answer: those of these names have these values and no others.
pub type Answer = Vec<(HeaderName, HeaderValue)>;

impl Cors {
    /// What a Route says of it.
    ///
    /// # Errors
    /// The name that can be in no header.
    pub fn of(spec: &eddy_crds::Cors) -> Result<Self, String> {
        let names = |names: &[String]| -> Result<Option<HeaderValue>, String> {
            let joined = names.join(", ");
            let value = HeaderValue::from_str(&joined).map_err(|_| joined)?;
            Ok(Some(value).filter(|value| !value.is_empty()))
        };
        let any_or = |all: &[String]| match all.iter().any(|name| name == "*") {
            true => Ok(Names::Any),
            false => names(all).map(Names::These),
        };
        let methods = match spec.allow_methods.is_empty() {
            true => Names::These(Some(HeaderValue::from_static(SIMPLE_METHODS))),
            false => any_or(&spec.allow_methods)?,
        };
        Ok(Self {
            origins: spec.allow_origins.iter().map(|origin| Origin::of(origin)).collect(),
            methods,
            headers: any_or(&spec.allow_headers)?,
            expose: names(&spec.expose_headers)?,
            credentials: spec.allow_credentials,
            max_age: HeaderValue::from(spec.max_age_seconds.max(0)),
        })
    }

    /// Whether a request only asks whether another may be sent.
    pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The method of the request that is to come.
    pub fn asked_method(headers: &HeaderMap) -> Option<Method> {
        Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
    }

    /// What whoever asks beforehand is told: nothing where their page may not ask.
    pub fn preflight(&self, asked: &HeaderMap) -> Answer {
        let mut answer = self.origin(asked);
        if answer.is_empty() {
            return answer;
        }
        let mut add = |name: HeaderName, names: &Names, asked: Option<&HeaderValue>| {
            let value = match names {
                Names::These(these) => these.clone(),
                // With credentials, a star is a name like any other.
                Names::Any if self.credentials => asked.cloned(),
                Names::Any => Some(HeaderValue::from_static("*")),
            };
            answer.extend(value.map(|value| (name, value)));
        };
        add(ACCESS_CONTROL_ALLOW_METHODS, &self.methods, asked.get(ACCESS_CONTROL_REQUEST_METHOD));
        add(ACCESS_CONTROL_ALLOW_HEADERS, &self.headers, asked.get(ACCESS_CONTROL_REQUEST_HEADERS));
        answer.push((ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        // Browsers look for it in the answer to come; the Gateway API has it here as well.
        answer.extend(self.expose.iter().map(|names| (ACCESS_CONTROL_EXPOSE_HEADERS, names.clone())));
        answer
    }

    /// What an answer says besides: nothing where the page that asked may not know it.
    pub fn answer(&self, asked: &HeaderMap) -> Answer {
        let mut answer = self.origin(asked);
        if !answer.is_empty() {
            answer.extend(self.expose.iter().map(|names| (ACCESS_CONTROL_EXPOSE_HEADERS, names.clone())));
        }
        answer
    }

    /// Whether what an answer says of it depends on who asks, as caches must know.
    pub fn varies(&self) -> bool {
        self.credentials || !self.origins.contains(&Origin::Any)
    }

    fn origin(&self, asked: &HeaderMap) -> Answer {
        let Some(origin) = asked.get(ORIGIN) else { return Vec::new() };
        let fits = |allowed: &Origin| origin.to_str().is_ok_and(|origin| allowed.is(origin));
        if !self.origins.iter().any(fits) {
            return Vec::new();
        }
        let named = if self.varies() { origin.clone() } else { HeaderValue::from_static("*") };
        let credentials = self.credentials.then(|| (ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        [(ACCESS_CONTROL_ALLOW_ORIGIN, named)].into_iter().chain(credentials).collect()
    }
}

impl Origin {
    fn of(text: &str) -> Self {
        match text.split_once('*') {
            Some(("", "")) => Self::Any,
            Some((before, after)) => Self::Below(before.to_ascii_lowercase(), after.to_ascii_lowercase()),
            None => Self::Exact(text.to_ascii_lowercase()),
        }
    }

    fn is(&self, origin: &str) -> bool {
        // Browsers send it in lower case; what does not is as good.
        let origin = origin.to_ascii_lowercase();
        match self {
            Self::Any => true,
            Self::Exact(exact) => *exact == origin,
            Self::Below(before, after) => {
                let between = origin.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
                // Of the host only: not of a port, a path or another scheme.
                between.is_some_and(|labels| !labels.is_empty() && !labels.contains(['/', ':', '@']))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(spec: serde_json::Value) -> Cors {
        Cors::of(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn asked(origin: &str) -> HeaderMap {
        let all = [(ORIGIN, origin), (ACCESS_CONTROL_REQUEST_METHOD, "PUT"), (ACCESS_CONTROL_REQUEST_HEADERS, "x-a")];
        all.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect()
    }

    fn text(answer: &Answer) -> Vec<String> {
        answer.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn pages_of_named_hosts_may_ask_and_others_hear_nothing() {
        let some = cors(serde_json::json!({
            "allowOrigins": ["https://app.example.com", "https://*.example.org"], "allowMethods": ["GET", "PUT"],
            "allowHeaders": ["X-A"], "exposeHeaders": ["X-B"], "allowCredentials": true, "maxAgeSeconds": 60,
        }));
        for origin in ["https://app.example.com", "https://a.example.org", "https://a.b.example.org", "HTTPS://app.example.com"] {
            assert_eq!(
                text(&some.answer(&asked(origin))),
                [
                    format!("access-control-allow-origin: {origin}"),
                    "access-control-allow-credentials: true".into(),
                    "access-control-expose-headers: X-B".into(),
                ]
            );
            assert_eq!(
                text(&some.preflight(&asked(origin)))[2..],
                [
                    "access-control-allow-methods: GET, PUT",
                    "access-control-allow-headers: X-A",
                    "access-control-max-age: 60",
                    "access-control-expose-headers: X-B",
                ]
            );
        }
        let others = [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://example.org",
            "https://.example.org",
            "https://evil.example/.example.org",
            "https://evil.example:1.example.org",
            "null",
        ];
        for origin in others {
            assert!(some.answer(&asked(origin)).is_empty() && some.preflight(&asked(origin)).is_empty(), "{origin}");
        }
        assert!(some.answer(&HeaderMap::new()).is_empty() && some.varies());
    }

    #[test]
    fn a_star_is_told_as_it_is_unless_credentials_come_with_it() {
        let any = cors(serde_json::json!({"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"]}));
        let expected = ["allow-origin: *", "allow-methods: *", "allow-headers: *", "max-age: 5"];
        assert_eq!(text(&any.preflight(&asked("https://a"))), expected.map(|line| format!("access-control-{line}")));
        assert!(!any.varies());
        let mine =
            serde_json::json!({"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"], "allowCredentials": true});
        let expected =
            ["allow-origin: https://a", "allow-credentials: true", "allow-methods: PUT", "allow-headers: x-a", "max-age: 5"];
        assert_eq!(text(&cors(mine).preflight(&asked("https://a"))), expected.map(|line| format!("access-control-{line}")));
    }

    #[test]
    fn only_options_with_a_method_asks_beforehand() {
        assert!(
            Cors::is_preflight(&Method::OPTIONS, &asked("https://a")) && !Cors::is_preflight(&Method::GET, &asked("https://a"))
        );
        assert!(!Cors::is_preflight(&Method::OPTIONS, &HeaderMap::new()));
    }
}

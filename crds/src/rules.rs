//! Validation rules that several kinds share, each with the sentence that a user reads when it fails.
//!
//! A rule on a string must have a bounded string, or the API server refuses the whole definition for
//! its estimated cost; the bound stands beside the rule at each field.

use kube::core::Rule;

/// The name of an object whose children are Services and pods: a DNS label (RFC 1035) that leaves
/// room for the suffixes that Kubernetes adds.
pub(crate) fn object_name() -> Rule {
    Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 40 lower-case letters, digits and dashes, and start with a letter, as in my-app")
}

/// A Kubernetes quantity above zero.
pub(crate) fn quantity() -> Rule {
    Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
        .message("must be a quantity above zero, as in 500m or 2 for CPU, 256Mi or 1Gi for bytes")
}

/// A reference to a container image: `[registry/]repository[:tag][@digest]`.
pub(crate) fn image() -> Rule {
    Rule::new(
        "self.matches('^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[a-zA-Z0-9_][-a-zA-Z0-9_.]{0,127})?(@sha256:[a-f0-9]{64})?$')",
    )
    .message("must be an image reference, as in nginx:1.27 or registry.example.com/team/app:v1")
}

/// A host name, exact or with one leading wildcard label.
pub(crate) fn hosts() -> Rule {
    Rule::new("self.all(h, h.matches('^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))")
        .message("each host must be lower-case, as in app.example.com, or start with one wildcard label, as in *.example.com")
}

/// A host name, exact.
pub(crate) fn host() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')")
        .message("must be a lower-case host name, as in app.example.com")
}

/// The name of an object of Kubernetes: labels of DNS (RFC 1123), joined by dots.
pub(crate) fn kubernetes_name() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')")
        .message("must be a name of lower-case letters, digits, dashes and dots, as in shop-tls")
}

/// A path of requests, in normal form.
pub(crate) fn request_path() -> Rule {
    Rule::new("self.startsWith('/') && !self.matches('/[.][.]?(/|$)') && !self.matches('[?#\\\\s]')")
        .message("must be an absolute path, as in /api/v1, without . or .. elements, ? or #")
}

/// Names of header fields (RFC 9110, section 5.1), of objects that have one.
pub(crate) fn field_names() -> Rule {
    Rule::new(format!("self.all(f, f.name.matches('{TOKEN}'))")).message(NO_TOKEN)
}

/// Names of header fields, or of methods.
pub(crate) fn header_names() -> Rule {
    Rule::new(format!("self.all(n, n.matches('{TOKEN}'))")).message(NO_TOKEN)
}

const TOKEN: &str = "^[-A-Za-z0-9!#$%&*+.^_|~]+$";
const NO_TOKEN: &str = "each name has letters, digits and -, as in X-Request-Id";

/// A list of addresses and networks.
pub(crate) fn cidrs() -> Rule {
    Rule::new("self.all(c, isIP(c) || isCIDR(c))")
        .message("each entry must be an address or a network, as in 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32")
}

/// A port number of TCP or UDP.
pub(crate) fn port() -> Rule {
    Rule::new("self >= 1 && self <= 65535").message("a port is a number from 1 to 65535")
}

/// No two of a list of ports have one name.
pub(crate) fn port_names() -> Rule {
    Rule::new("self.all(p, !has(p.name) || self.exists_one(q, has(q.name) && q.name == p.name))")
        .message("each port needs a name of its own")
}

/// No two of a list of ports have one number, unless one is TCP and the other UDP.
pub(crate) fn port_numbers() -> Rule {
    let same = "q.port == p.port && (has(q.protocol) ? q.protocol : 'TCP') == (has(p.protocol) ? p.protocol : 'TCP')";
    Rule::new(format!("self.all(p, self.exists_one(q, {same}))"))
        .message("each port number may be there once for TCP and once for UDP")
}

/// An absolute path inside a container.
pub(crate) fn absolute_path() -> Rule {
    Rule::new("self.startsWith('/') && !self.contains('..')").message("must be an absolute path without .., as in /var/lib/data")
}

/// Principals that may be given access to an object of another tenant.
pub(crate) fn principals() -> Rule {
    Rule::new("self.all(p, p.matches('^(user/[a-z][-a-z0-9]*|serviceaccount/[a-z][-a-z0-9]*/[a-z][-a-z0-9]*)$'))")
        .message("each entry must be user/<name> or serviceaccount/<user>/<name>")
}

/// Public keys in OpenSSH's one-line form.
pub(crate) fn ssh_public_key() -> Rule {
    Rule::new("self.matches('^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh.com|sk-ecdsa-sha2-nistp256@openssh.com) [A-Za-z0-9+/=]+( .*)?$')")
        .message("must be one line of an OpenSSH public key, as in the file ~/.ssh/id_ed25519.pub")
}

/// Every probe of a container without ports names its own. CEL gives each of the three probes a type of its
/// own, so they cannot stand in one list.
pub(crate) fn probe_ports() -> Rule {
    let each = ["startup", "readiness", "liveness"].map(|name| {
        let probe = format!("self.probes.{name}");
        format!(
            "(!has({probe}) || ((!has({probe}.http) || has({probe}.http.port)) && (!has({probe}.tcp) || has({probe}.tcp.port))))"
        )
    });
    Rule::new(format!("!has(self.probes) || (has(self.ports) && self.ports.size() > 0) || ({})", each.join(" && ")))
        .message("a probe without a port uses the first of spec.ports: name the probe's port, or list the container's ports")
}

/// Exactly one of the named optional fields is set.
pub(crate) fn exactly_one(fields: &[&str], message: &str) -> Rule {
    let set = fields.iter().map(|field| format!("has(self.{field})")).collect::<Vec<_>>().join(", ");
    Rule::new(format!("[{set}].filter(set, set).size() == 1")).message(message)
}

//! The Secret that a token is written to.

use std::collections::BTreeMap;

use eddy_authz::{SigningKey, Token as Drawn};
use eddy_crds::{MANAGED_BY, MANAGED_BY_LABEL, TOKEN_SECRET_TYPE, Token};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

/// The Secret's name.
pub(super) fn name(token: &Token) -> String {
    token.spec.secret_name.clone().unwrap_or_else(|| token.name_any())
}

/// The Secret with a token that was drawn, and with the access key of S3 that it is where there is a key to derive that with.
pub(super) fn secret(token: &Token, drawn: &Drawn, signing_key: Option<&SigningKey>) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([("token".to_owned(), bytes(drawn.expose()))]);
    if let Some(key) = signing_key {
        data.insert("AWS_ACCESS_KEY_ID".to_owned(), bytes(drawn.id()));
        data.insert("AWS_SECRET_ACCESS_KEY".to_owned(), bytes(key.secret_of(drawn.id(), &drawn.hash()).expose()));
    }
    Secret {
        metadata: ObjectMeta {
            name: Some(name(token)),
            namespace: token.namespace(),
            labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())])),
            owner_references: Some(token.controller_owner_ref(&()).into_iter().collect()),
            ..ObjectMeta::default()
        },
        type_: Some(TOKEN_SECRET_TYPE.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use eddy_crds::TokenSpec;

    #[test]
    fn a_token_is_written_with_its_access_key() {
        let drawn = Drawn::draw().unwrap();
        let mut token = Token::new("ci", TokenSpec::default());
        (token.metadata.namespace, token.metadata.uid) = (Some("u-ada".into()), Some("1-2".into()));
        let key = SigningKey::new(&[7; 32]).unwrap();
        let made = secret(&token, &drawn, Some(&key));
        let data = made.data.clone().unwrap();
        let text = |name: &str| String::from_utf8(data[name].0.clone()).unwrap();
        assert_eq!((text("token").as_str(), text("AWS_ACCESS_KEY_ID").as_str()), (drawn.expose(), drawn.id()));
        assert_eq!(text("AWS_SECRET_ACCESS_KEY"), key.secret_of(drawn.id(), &drawn.hash()).expose());
        assert_eq!((made.name_any().as_str(), made.type_.as_deref()), ("ci", Some("eddy.cloud/token")));
        assert_eq!(made.metadata.owner_references.unwrap()[0].uid, "1-2");
        assert_eq!(secret(&token, &drawn, None).data.unwrap().len(), 1);
        token.spec.secret_name = Some("elsewhere".into());
        assert_eq!(secret(&token, &drawn, None).name_any(), "elsewhere");
    }
}

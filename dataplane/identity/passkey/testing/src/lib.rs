//! An authenticator of passkeys with the browser before it, for tests: it answers what sites ask as
//! [Web Authentication](https://www.w3.org/TR/webauthn-3/) has it, and lies where it is told to. Whatever fails ends the test.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// Somebody is there.
pub const PRESENT: u8 = 0x01;
/// It knows who.
pub const VERIFIED: u8 = 0x04;
/// The passkey may be on other devices.
pub const MAY_BE_SYNCED: u8 = 0x08;
/// The passkey is on other devices.
pub const IS_SYNCED: u8 = 0x10;
const ATTESTED: u8 = 0x40;

/// An authenticator with one passkey (ES256).
pub struct Authenticator {
    key: EcdsaKeyPair,
    /// What the passkey is called.
    pub id: Vec<u8>,
    /// Whom it is for, as the site says; nobody before it was registered.
    pub handle: String,
    /// What it says of itself and of who is there.
    pub flags: u8,
    /// How often it was used.
    pub uses: u32,
    /// Where the browser says that it is.
    pub origin: String,
    /// For which domain it answers; for the one it is asked for if none.
    pub domain: Option<String>,
}

impl Authenticator {
    /// One that knows who is there, in a browser at a page of this origin.
    pub fn at(origin: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("randomness");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
            .expect("the key that was made just now");
        let id = digest(&SHA256, key.public_key().as_ref()).as_ref().to_vec();
        let (handle, flags, origin) = (String::new(), PRESENT | VERIFIED, origin.to_owned());
        Self { key, id, handle, flags, uses: 0, origin, domain: None }
    }

    /// Registers the passkey: `RegistrationResponseJSON` to `PublicKeyCredentialCreationOptionsJSON`.
    pub fn create(&mut self, options: &Value) -> Value {
        self.handle = options["user"]["id"].as_str().expect("creation options name a user").to_owned();
        let client = self.client_data("webauthn.create", options);
        let mut data = self.data(options["rp"]["id"].as_str().expect("creation options name a domain"), self.flags | ATTESTED);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).expect("an id of at most 1,023 bytes").to_be_bytes());
        data.extend(&self.id);
        data.extend(self.cose_key());
        // {"fmt": "none", "attStmt": {}, "authData": …}
        let mut attestation = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        attestation.push(u8::try_from(data.len()).expect("data of less than 256 bytes, with an id of 32"));
        attestation.extend(&data);
        json!({
            "id": text(&self.id), "rawId": text(&self.id), "type": "public-key", "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
            "response": {"clientDataJSON": text(client.as_bytes()), "attestationObject": text(&attestation), "transports": ["internal"]},
        })
    }

    /// Shows the passkey: `AuthenticationResponseJSON` to `PublicKeyCredentialRequestOptionsJSON`.
    pub fn get(&mut self, options: &Value) -> Value {
        self.uses += 1;
        let client = self.client_data("webauthn.get", options);
        let data = self.data(options["rpId"].as_str().expect("request options name a domain"), self.flags);
        let signed = [&data[..], digest(&SHA256, client.as_bytes()).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).expect("randomness");
        json!({
            "id": text(&self.id), "rawId": text(&self.id), "type": "public-key", "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
            "response": {
                "clientDataJSON": text(client.as_bytes()), "authenticatorData": text(&data), "signature": text(signature.as_ref()),
                "userHandle": self.handle,
            },
        })
    }

    fn client_data(&self, what: &str, options: &Value) -> String {
        json!({"type": what, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false}).to_string()
    }

    fn data(&self, domain: &str, flags: u8) -> Vec<u8> {
        let domain = self.domain.as_deref().unwrap_or(domain);
        let mut data = digest(&SHA256, domain.as_bytes()).as_ref().to_vec();
        data.push(flags);
        data.extend(self.uses.to_be_bytes());
        data
    }

    /// {1: 2, 3: -7, -1: 1, -2: x, -3: y}, RFC 9053.
    fn cose_key(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        [b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20", &point[1..33], b"\x22\x58\x20", &point[33..65]].concat()
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
